#!/usr/bin/env bash
# A pod on this machine, and what happens when a host of it dies: two processes
# with four virtual devices each train the story base together, one is killed
# (SIGKILL) after a checkpoint, and one process with eight devices goes on.
#
#   bash launch/local_pod.sh [WORKDIR]      default: runs/local_pod, emptied
#
# The model is the least there is, and the budget STEPS updates (12) of 8
# films, saved every 4. At the end it checks that in what survives each update
# took the films that come next, so each index of their order occurs once.
set -euo pipefail
if [ -z "${PYTHON:-}" ]; then
  # shellcheck source=launch/setup.sh
  source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
fi

WORKDIR="${1:-runs/local_pod}"
STEPS="${STEPS:-12}"
rm -rf "$WORKDIR"
mkdir -p "$WORKDIR"
CONFIG=(--config=configs/story.py --config.dit.layers=1 --config.dit.heads=2
  --config.dit.head_features=16 --config.dit.mlp_features=64
  --config.data.chunks=3 --config.data.films="$WORKDIR/films"
  --config.memory.bank_frames=20
  --config.train.codec_weights=weights/story/codec.safetensors
  --config.train.stages="('base',)" --config.train.log_every_steps=1
  --config.train.save_every_steps=4 --config.train.sample_every_steps=0
  --config.stage.base.steps="$STEPS" --config.stage.base.optimizer=adamw
  --config.mesh.sequence=2)
PORT="$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0))
print(s.getsockname()[1])')"
ROWS="$WORKDIR/metrics/base.jsonl"

train() { # DEVICES FLAG…
  local devices="$1"
  shift
  JAX_NUM_CPU_DEVICES="$devices" "$PYTHON" -m cinejax.train --platform=cpu \
    --workdir="$WORKDIR" "${CONFIG[@]}" "$@"
}

"$PYTHON" -m data_prep.story --config=configs/story.py --films=40 \
  --weights=weights/story/codec.safetensors --out="$WORKDIR/films"

PIDS=()
for process in 0 1; do
  train 4 --coordinator="127.0.0.1:$PORT" --processes=2 \
    --process="$process" >"$WORKDIR/process-$process.log" 2>&1 &
  PIDS+=("$!")
done
trap 'kill -9 "${PIDS[@]}" 2>/dev/null || true' EXIT

until [ -e "$ROWS" ] && [ "$(wc -l <"$ROWS")" -ge 6 ]; do
  for pid in "${PIDS[@]}"; do
    kill -0 "$pid" 2>/dev/null || {
      tail -n 20 "$WORKDIR"/process-*.log >&2
      echo 'error: a process ended too early; see above' >&2
      exit 1
    }
  done
  sleep 0.2
done
# the functions above are subshells, whose child is the trainer
pkill -9 -P "${PIDS[1]}"
echo "process 1 was killed after $(wc -l <"$ROWS") updates"
sleep 2
pkill -9 -P "${PIDS[0]}" || true # it waits for the other, or has given up
wait "${PIDS[@]}" 2>/dev/null || true

train 8
"$PYTHON" - "$ROWS" "$STEPS" <<'CHECK'
import json
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
surviving = {row['step']: row for row in rows}  # of two the later counts
first = next(
  b['step'] for a, b in zip(rows, rows[1:]) if b['step'] <= a['step']
)
consumed = [surviving[step]['films_consumed'] for step in sorted(surviving)]
assert consumed == [8 * (i + 1) for i in range(int(sys.argv[2]))], consumed
print(
  f'one process went on from update {first}; in the surviving run each of '
  f'{consumed[-1]} indices occurs once'
)
CHECK
