#!/usr/bin/env bash
# Trains on one or more GPU hosts, each with the repository at the same path
# and installed in .venv (pip install -e '.[cuda]'):
#
#   bash launch/gpu_node.sh -- --config=… --workdir=…            this host
#   HOSTS='a b' bash launch/gpu_node.sh -- --config=… --workdir=…   by ssh
#   sbatch --nodes=4 --ntasks-per-node=1 --gpus-per-node=8 --requeue \
#     --signal=B:USR1@300 --open-mode=append \
#     launch/gpu_node.sh -- --config=… --workdir=…                by Slurm
#
# --dry_run before -- prints the commands. Flags are those of cinejax.train; the
# workdir must be a folder that all hosts see. The same command resumes. Under
# Slurm, SIGUSR1 five minutes before the time limit saves a checkpoint and
# queues the job again, which then continues; a job that is preempted (Slurm
# sends SIGTERM and requeues it) or cancelled saves too. Environment: PORT of
# the first host (12345); PYTHON (.venv/bin/python).
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 2
}

DRY=0
if [ "${1:-}" = --dry_run ]; then
  DRY=1
  shift
fi
if [ "${1:-}" = -- ]; then shift; fi
[ $# -gt 0 ] || fail 'give the flags of cinejax.train after --'
if [ -z "${SLURM_JOB_ID:-}" ]; then # Slurm runs a copy of this file
  CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit
fi
PYTHON="${PYTHON:-.venv/bin/python}"
TRAIN=("$PYTHON" -m cinejax.train --platform=gpu)
# overlaps communication with computation
export XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_enable_latency_hiding_scheduler=true"

run() {
  if [ "$DRY" = 1 ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

if [ -n "${SLURM_JOB_ID:-}" ]; then
  STEP=(srun --kill-on-bad-exit=1 "${TRAIN[@]}" --coordinator=auto "$@")
  if [ "${SLURM_NTASKS_PER_NODE:-1}" = 1 ]; then # else each would take one GPU
    JAX_LOCAL_DEVICE_IDS="$(seq -s, 0 "$((${SLURM_GPUS_ON_NODE:-1} - 1))")"
    export JAX_LOCAL_DEVICE_IDS
  fi
  if [ "$DRY" = 1 ]; then
    run "${STEP[@]}"
    exit
  fi
  # Slurm does not requeue exit code 0, with which a saved training ends
  STOPPING=0 CODE=0
  trap 'STOPPING=1; kill -TERM "$!"' USR1 # srun passes it on to all
  "${STEP[@]}" &
  wait "$!" || CODE=$?
  if [ "$STOPPING" = 1 ]; then # the signal ended the wait, not srun
    CODE=0
    wait "$!" || CODE=$?
    if [ "$CODE" = 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
  fi
  exit "$CODE"
fi
if [ -z "${HOSTS:-}" ]; then
  run exec "${TRAIN[@]}" "$@"
  exit
fi

read -r -a HOST <<<"$HOSTS"
PIDS=()
for i in "${!HOST[@]}"; do
  words="$(printf '%q ' "${TRAIN[@]}" \
    --coordinator="${HOST[0]}:${PORT:-12345}" --processes="${#HOST[@]}" \
    --process="$i" "$@")"
  there="cd $(printf '%q' "$PWD") && XLA_FLAGS=$(printf '%q' "$XLA_FLAGS") \
exec $words"
  if [ "$DRY" = 1 ]; then
    run ssh -tt "${HOST[$i]}" "$there"
  else
    # a terminal hangs up when ssh ends: the training gets SIGHUP and saves
    ssh -tt "${HOST[$i]}" "$there" </dev/null &
    PIDS+=("$!")
  fi
done
if [ "$DRY" = 1 ]; then exit; fi
# if one host fails, all are ended, which would wait for it for ever
trap 'kill "${PIDS[@]}" 2>/dev/null || true' EXIT TERM INT
for _ in "${PIDS[@]}"; do wait -n "${PIDS[@]}"; done
