#!/usr/bin/env bash
# Tests a pod on this machine, and the death of one of its hosts: two processes
# with four virtual devices each train together, one is killed (SIGKILL) after a
# checkpoint, and one process with eight devices continues. This is done for the
# story base and then for DMD, with `init` in between. Before that, one of two
# processes gets SIGTERM, and both save the same update and exit with code 0.
#
#   bash launch/local_pod.sh [WORKDIR]      default: runs/local_pod, emptied
#
# The model is as small as possible. Base and DMD take STEPS updates (40) of 8
# films with a checkpoint every 4. After each stage the script checks that every
# surviving update used the next films, so that each index of their order occurs
# once; that no more was lost than the updates after the second-last checkpoint
# (a checkpoint is written while the next updates run); and that updates which
# were done twice, by two processes and by one, have the same loss and gradient
# norm.
set -euo pipefail
if [ -z "${PYTHON:-}" ]; then
  # shellcheck source=launch/setup.sh
  source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
fi

WORKDIR="${1:-runs/local_pod}"
STEPS="${STEPS:-40}"
if [ -n "$(ls -A "$WORKDIR" 2>/dev/null)" ] && [ ! -e "$WORKDIR/.local_pod" ]
then
  echo "error: $WORKDIR holds something else, which would be deleted; name" \
    'another folder' >&2
  exit 2
fi
rm -rf "$WORKDIR"
mkdir -p "$WORKDIR"
touch "$WORKDIR/.local_pod"
CONFIG=(--config=configs/story.py:four --config.dit.layers=1 --config.dit.heads=2
  --config.dit.head_features=16 --config.dit.mlp_features=64
  --config.data.chunks=3 --config.data.films="$WORKDIR/films"
  --config.memory.window_frames=3 --config.memory.routed_frames=2
  --config.memory.bank_frames=9 --config.dmd.every=2
  --config.train.codec_weights=weights/story/codec.safetensors
  --config.train.log_every_steps=1 --config.train.save_every_steps=4
  --config.train.sample_every_steps=0 --config.stage.init.steps=2
  --config.stage.base.steps="$STEPS" --config.stage.base.optimizer=adamw
  --config.stage.dmd.steps="$STEPS" --config.mesh.sequence=2)
PIDS=()
trap 'kill -9 "${PIDS[@]}" 2>/dev/null || true' EXIT

train() { # DEVICES STAGES FLAG…
  local devices="$1" stages="$2"
  shift 2
  JAX_NUM_CPU_DEVICES="$devices" "$PYTHON" -m cinejax.train --platform=cpu \
    --workdir="$WORKDIR" "${CONFIG[@]}" --config.train.stages="$stages" "$@"
}

pair() { # NAME STAGES FLAG…: starts two processes that log to NAME-?.log
  local name="$1" stages="$2" port process
  shift 2
  port="$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0))
print(s.getsockname()[1])')"
  PIDS=()
  for process in 0 1; do
    train 4 "$stages" --coordinator="127.0.0.1:$port" --processes=2 \
      --process="$process" "$@" >"$WORKDIR/$name-$process.log" 2>&1 &
    PIDS+=("$!")
  done
}

lost() { # NAME: succeeds if one of the pair has ended too early
  local pid
  for pid in "${PIDS[@]}"; do
    kill -0 "$pid" 2>/dev/null || {
      tail -n 20 "$WORKDIR/$1"-?.log >&2
      echo 'error: a process ended too early; see above' >&2
      return
    }
  done
  return 1
}

leave() { # stops one of two processes, far from any row of metrics
  local pid
  pair stop "('base',)" --workdir="$WORKDIR/stop" \
    --config.train.log_every_steps=1000000 --config.stage.base.steps=1000000
  until [ -e "$WORKDIR/stop/checkpoints/base/4" ]; do
    if lost stop; then exit 1; fi
    sleep 0.05
  done
  pkill -TERM -P "${PIDS[1]}"
  for pid in "${PIDS[@]}"; do wait "$pid"; done
  PIDS=()
  "$PYTHON" - "$WORKDIR" <<'CHECK'
import pathlib
import re
import sys

workdir = pathlib.Path(sys.argv[1])
steps = {
  re.search(r'base stopped at step (\d+) ', log.read_text())[1]
  for log in workdir.glob('stop-?.log')
}
(step,) = steps
assert (workdir / 'stop/checkpoints/base' / step).is_dir(), step
print(f'stop: one process was stopped, both saved update {step} and exited 0')
CHECK
}

act() { # STAGE STAGES: one of two processes dies in STAGE, the other continues
  local rows="$WORKDIR/metrics/$1.jsonl"
  pair "$1" "$2"
  until [ -e "$rows" ] && [ "$(wc -l <"$rows")" -ge 6 ]; do
    if lost "$1"; then exit 1; fi
    sleep 0.05
  done
  # the functions above run in subshells whose child is the trainer
  pkill -9 -P "${PIDS[1]}"
  echo "$1: process 1 was killed after $(wc -l <"$rows") updates"
  sleep 2
  pkill -9 -P "${PIDS[0]}" || true # waits for the other, or has ended
  wait "${PIDS[@]}" 2>/dev/null || true
  PIDS=()

  train 8 "$2"
  check "$1" "$rows"
}

check() { # STAGE ROWS
  "$PYTHON" - "$1" "$2" "$STEPS" <<'CHECK'
import json
import math
import sys

stage, path, steps = sys.argv[1:]
rows = [json.loads(line) for line in open(path)]
surviving = {row['step']: row for row in rows}  # the later of two rows counts
begun = next(
  i + 1
  for i, (a, b) in enumerate(zip(rows, rows[1:]))
  if b['step'] <= a['step']
)
last, first = rows[begun - 1]['step'], rows[begun]['step']
assert 1 < first and last - first < 8, (last, first)  # saved every 4
for row in rows[:begun]:  # done twice: two processes equal one
  if row['step'] >= first:
    other = surviving[row['step']]
    for name in ('loss', 'grad_norm'):
      assert math.isclose(row[name], other[name], rel_tol=1e-5), (row, other)
consumed = [surviving[step]['films_consumed'] for step in sorted(surviving)]
assert consumed == [8 * (i + 1) for i in range(int(steps))], consumed
print(
  f'{stage}: one process continued from update {first} and did {first} to {last} '
  f'again, the same to 1e-5; in the surviving run each of {consumed[-1]} '
  'indices occurs once'
)
CHECK
}

"$PYTHON" -m data_prep.story --config=configs/story.py --films=40 \
  --weights=weights/story/codec.safetensors --out="$WORKDIR/films"
leave
act base "('base',)"
act dmd "('base', 'init', 'dmd')"
