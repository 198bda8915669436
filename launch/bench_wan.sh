#!/usr/bin/env bash
# Times the directing of Wan 2.1 1.3B at 832x480 on this machine, bfloat16,
# random weights, which cost what trained ones do:
#
#   bash launch/bench_wan.sh [FLAG...]
#
# JSON lines are added to runs/bench/wan.jsonl: the students of four steps a
# chunk and of two steps a frame with Wan's decoder, the first again with
# TAEHV's, and the base. They have frames a second with and without the decoder,
# what a first chunk takes, peak memory, MFU, device and versions. Flags go to
# `python -m cinejax.bench` after ours, so they win: --out=FILE, --repeats=N,
# --platform=gpu, or smaller sizes.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

mkdir -p runs/bench
row() {
  "$PYTHON" -m cinejax.bench --config="configs/wan_1_3b.py$1" --what=rollout \
    --what=first --out=runs/bench/wan.jsonl "${@:2}"
}
row :four "$@"
row :frame_two "$@"
row :four --config.codec.name=taehv "$@"
row "" "$@"
