#!/usr/bin/env bash
# Times the directing of Wan 2.1 1.3B at 832x480 on this machine, bfloat16,
# random weights, which cost what trained ones do:
#
#   bash launch/bench_wan.sh [--reduced] [FLAG...]
#
# JSON lines are added to runs/bench/wan.jsonl: the students of four steps a
# chunk and of two steps a frame, camr with 5 routed frames and a window of 3,
# with Wan's decoder; the first with TAEHV's; the same students with the window
# of 9 that they are trained for; and the base. They have frames a second with
# and without the decoder, what a first chunk takes, peak memory, MFU, device
# and versions. Flags go to `python -m cinejax.bench` after ours, so they win:
# --out=FILE, --repeats=N, --platform=gpu, or other sizes.
#
# --reduced makes the same rows, to runs/bench/wan_reduced.jsonl, of a DiT of
# two narrow layers and a thin codec at 48x32: minutes of a CPU, and no figure
# of Wan. `parameters`, `height` and `width` of a row say which it is.
set -euo pipefail
if [ -z "${PYTHON:-}" ]; then
  # shellcheck source=launch/setup.sh
  source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
fi

sizes=(--out=runs/bench/wan.jsonl)
if [ "${1:-}" = --reduced ]; then
  shift
  sizes=(--out=runs/bench/wan_reduced.jsonl
    --config.film.height=32 --config.film.width=48
    --config.dit.layers=2 --config.dit.heads=2 --config.dit.head_features=32
    --config.dit.mlp_features=128 --config.text.words=16
    --config.text.features=32 --config.codec.width=8 --config.codec.blocks=1)
fi
mkdir -p runs/bench
row() {
  "$PYTHON" -m cinejax.bench --config="configs/wan_1_3b.py$1" --what=rollout \
    --what=first "${@:2}"
}
near=--config.memory.window_frames=3
row :four "$near" "${sizes[@]}" "$@"
row :frame_two "$near" "${sizes[@]}" "$@"
row :four "$near" --config.codec.name=taehv "${sizes[@]}" "$@"
row :four "${sizes[@]}" "$@"
row :frame_two "${sizes[@]}" "$@"
row "" "${sizes[@]}" "$@"
