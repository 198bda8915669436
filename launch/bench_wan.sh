#!/usr/bin/env bash
# Times directing with Wan 2.1 1.3B at 832x480 on this machine, in bfloat16 with
# random weights, which take as long as trained ones:
#
#   bash launch/bench_wan.sh [--reduced] [FLAG...]
#
# Appends JSON lines to runs/bench/wan.jsonl: the students of four steps per
# chunk and of two steps per frame, with policy camr, 5 routed frames, a window
# of 3 and Wan's decoder; the first of them with TAEHV's decoder; the same
# students with the window of 9 for which they are trained; and the base. A row
# has frames per second with and without the decoder, the time of a first chunk,
# peak memory, MFU, device and versions. Flags are passed to
# `python -m cinejax.bench` after those of this script, so they take precedence:
# --out=FILE, --repeats=N, --platform=gpu, or other sizes.
#
# --reduced makes the same rows, in runs/bench/wan_reduced.jsonl, with a DiT of
# two narrow layers and a small codec at 48x32. It takes minutes on a CPU and
# says nothing of Wan's speed; `parameters`, `height` and `width` of a row tell
# which it is.
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
