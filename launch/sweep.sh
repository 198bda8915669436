#!/usr/bin/env bash
# Runs this slice's share of an ablation, one point after the other:
#
#   bash launch/sweep.sh configs/ablations/FILE.py --workdir=DIR [FLAG...]
#
# Slice i of n runs the points i, i + n, i + 2n, … in the order of `python -m
# cinejax.sweep --dry_run`. A slice is one host with its devices, such as a
# v5litepod-8 or a node of GPUs, because evaluate and bench are one process. DIR
# is a folder that all slices see. The number of this slice is taken from the
# first of these that is set:
#
#   SLICE / SLICES                                 set by hand, from 0
#   MEGASCALE_SLICE_ID / MEGASCALE_NUM_SLICES      several TPU slices
#   SLURM_ARRAY_TASK_ID / SLURM_ARRAY_TASK_COUNT   sbatch --array=0-(n-1)
#   JOB_COMPLETION_INDEX / SLICES                  an indexed job of Kubernetes
#
# and is 0 of 1 without them. Afterwards the same command of cinejax.sweep on
# any one machine makes the table and the plot; before all points are done, add
# --points=NAME of one that is.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

if [ -n "${SLICE:-}" ]; then
  slice="$SLICE" slices="${SLICES:-}"
elif [ -n "${MEGASCALE_SLICE_ID:-}" ]; then
  slice="$MEGASCALE_SLICE_ID" slices="${MEGASCALE_NUM_SLICES:-}"
  # each slice trains alone, so JAX must see only one
  unset MEGASCALE_COORDINATOR_ADDRESS MEGASCALE_NUM_SLICES MEGASCALE_SLICE_ID
elif [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  slice="$SLURM_ARRAY_TASK_ID" slices="${SLURM_ARRAY_TASK_COUNT:-}"
elif [ -n "${JOB_COMPLETION_INDEX:-}" ]; then
  slice="$JOB_COMPLETION_INDEX" slices="${SLICES:-}"
else
  slice=0 slices=1
fi
[ -n "$slices" ] || fail 'the number of slices is not set; set SLICES'
[ "$slice" -lt "$slices" ] ||
  fail "slice $slice of $slices does not exist; slices count from 0"

PATH="$(dirname -- "$PYTHON"):$PATH"
lines="$(python -m cinejax.sweep "$@" --dry_run)" || exit
number=0 failed=0
while IFS= read -r line; do
  if [ $((number % slices)) -eq "$slice" ]; then
    echo "$line"
    bash -c "$line" </dev/null || failed=$((failed + 1))
  fi
  number=$((number + 1))
done <<<"$lines"
[ "$failed" -eq 0 ] || fail "$failed points of slice $slice failed; see above"
