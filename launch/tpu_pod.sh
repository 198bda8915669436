#!/usr/bin/env bash
# A Cloud TPU pod from nothing to a trained model, on all of its hosts:
#
#   export NAME=film ZONE=us-east5-a TYPE=v5p-128
#   bash launch/tpu_pod.sh create            ask for it (queued resources)
#   bash launch/tpu_pod.sh status            ACTIVE when it is there
#   bash launch/tpu_pod.sh setup             copy this repository, install it
#   bash launch/tpu_pod.sh run -- --config=configs/wan_14b.py \
#     --workdir=gs://BUCKET/wan14b …         train; flags of cinejax.train
#   bash launch/tpu_pod.sh logs              what the hosts print, as it comes
#   bash launch/tpu_pod.sh stop              ends the run; it saves first
#   bash launch/tpu_pod.sh delete
#   bash launch/tpu_pod.sh resume -- FLAGS   waits for a preempted pod, asks
#     for it anew, sets it up, and runs the same command, which goes on from
#     the newest checkpoint; again after each preemption
#
# --dry_run before the word prints every command and runs none.
#
# Environment:
#   NAME      of the queued resource; its slices are NAME, or NAME-0, NAME-1, …
#   ZONE      such as us-east5-a
#   TYPE      such as v5p-128, v5litepod-256, v6e-256
#   SLICES    how many; 1
#   VERSION   of the machines' software; v2-alpha-tpuv5 for v5p and so on
#   SPOT      1: may be preempted, and costs less; 0
#   PROJECT   gcloud's own if empty
#   POLL_SECS between looks at a pod that is waited for; 60
#
# The workdir must be one that all hosts see: a bucket mounted by gcsfuse, or
# Filestore. Needs gcloud, logged in, with permission for TPUs.
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 2
}

run() { # a command, or with --dry_run what it would be
  if [ "$DRY" = 1 ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

version() {
  case "$TYPE" in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v4-*) echo tpu-ubuntu2204-base ;;
    *) fail "TYPE=$TYPE is none that this script knows; set VERSION" ;;
  esac
}

tpus() { # gcloud compute tpus WORDS…, with place and project
  local where=(--zone="$ZONE")
  if [ -n "${PROJECT:-}" ]; then where+=(--project="$PROJECT"); fi
  run gcloud compute tpus "$@" "${where[@]}"
}

slices() { # the names of the machines' groups, one a line
  local i
  if [ "$SLICES" = 1 ]; then
    echo "$NAME"
  else
    for ((i = 0; i < SLICES; i++)); do echo "$NAME-$i"; done
  fi
}

on_all() { # a shell command on every host of every slice, at the same time
  local slice pids=() pid failed=0
  for slice in $(slices); do
    tpus tpu-vm ssh "$slice" --worker=all --command="$1" &
    pids+=("$!")
    if [ "$DRY" = 1 ]; then wait "$!"; fi # so that it prints in order
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return "$failed"
}

create() {
  local software flags=()
  software="${VERSION:-$(version)}"
  flags=(--accelerator-type="$TYPE" --runtime-version="$software")
  if [ "$SLICES" = 1 ]; then
    flags+=(--node-id="$NAME")
  else
    flags+=(--node-count="$SLICES" --node-prefix="$NAME")
  fi
  if [ "${SPOT:-0}" = 1 ]; then flags+=(--spot); fi
  tpus queued-resources create "$NAME" "${flags[@]}"
}

state() { # ACTIVE, WAITING_FOR_RESOURCES, SUSPENDED, …; nothing: none
  tpus queued-resources describe "$NAME" --format='value(state.state)'
}

setup() {
  local archive slice
  archive="$(mktemp -d)/cinejax.tar.gz"
  run git archive --format=tar.gz --output="$archive" HEAD
  for slice in $(slices); do
    tpus tpu-vm scp "$archive" "$slice:cinejax.tar.gz" --worker=all
  done
  on_all "$INSTALL"
}

# It outlives the connection, and leaves its exit code in the file rc; a second
# run while one is alive is refused.
start() {
  local words
  [ $# -gt 0 ] || fail 'run needs the flags of cinejax.train after --'
  words="$(printf '%q ' "$@")"
  on_all "cd cinejax || exit
if $ALIVE; then echo 'error: a run is alive; stop it first' >&2; exit 2; fi
rm -f rc
(trap '' HUP
.venv/bin/python -m cinejax.train --coordinator=auto --platform=tpu $words
echo \$? >rc) >log 2>&1 </dev/null & echo \$! >pid"
}

status() {
  state
  on_all "cd cinejax || exit
if $ALIVE; then echo alive; else echo ended with \$(cat rc); fi; tail -n 1 log"
}

# A run that was told to stop by a machine that went on living has exit code 0
# too, and says so.
resume() {
  local now
  if [ "$DRY" = 1 ]; then
    state
    tpus queued-resources delete "$NAME" --force --quiet
    create
    setup
    start "$@"
    return
  fi
  while true; do
    now="$(state 2>/dev/null || true)"
    echo "$NAME is ${now:-not there}"
    case "$now" in
      *ACTIVE*)
        if on_all "cd cinejax && grep -qx 0 rc && ! grep -q 'stopped at' log"; then
          echo "$NAME has finished"
          return
        elif on_all 'cd cinejax && test -e rc && ! grep -qx 0 rc'; then
          on_all 'tail -n 5 cinejax/log'
          fail "the run on $NAME ended with an error; see above"
        elif ! on_all "cd cinejax && $ALIVE"; then
          setup
          start "$@"
        fi
        ;;
      *SUSPENDED* | *FAILED*)
        tpus queued-resources delete "$NAME" --force --quiet
        create
        ;;
      '') create ;;
    esac
    sleep "${POLL_SECS:-60}"
  done
}

# within cinejax/; a dead process that nobody has asked for still has its number
ALIVE="test ! -e rc && kill -0 \"\$(cat pid 2>/dev/null)\" 2>/dev/null"
INSTALL='rm -rf cinejax.new && mkdir cinejax.new &&
tar -xzf cinejax.tar.gz -C cinejax.new && mkdir -p cinejax &&
cp -r cinejax.new/. cinejax/ && cd cinejax &&
(python3.12 -m venv .venv || python3.11 -m venv .venv || python3 -m venv .venv) &&
.venv/bin/pip install --quiet --editable ".[tpu]"'

DRY=0
if [ "${1:-}" = --dry_run ]; then
  DRY=1
  shift
fi
WORD="${1:-}"
if [ $# -gt 0 ]; then shift; fi
if [ "${1:-}" = -- ]; then shift; fi
SLICES="${SLICES:-1}"
case "$WORD" in
  create | setup | run | logs | status | stop | delete | resume) ;;
  *) fail "${WORD:-nothing} is not create, setup, run, logs, status, stop," \
    'delete or resume' ;;
esac
[ -n "${NAME:-}" ] || fail 'NAME is not set; export NAME, ZONE and TYPE'
[ -n "${ZONE:-}" ] || fail 'ZONE is not set; export NAME, ZONE and TYPE'
if [ "$WORD" = create ] || [ "$WORD" = resume ]; then
  [ -n "${TYPE:-}" ] || fail 'TYPE is not set, such as v5p-128'
fi
if [ "$DRY" = 0 ]; then
  command -v gcloud >/dev/null || fail 'gcloud is not installed'
fi
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit

case "$WORD" in
  create) create ;;
  setup) setup ;;
  run) start "$@" ;;
  logs) on_all 'tail -n 20 -f cinejax/log' ;;
  status) status ;;
  stop) on_all "pkill -TERM -P \"\$(cat cinejax/pid)\"" ;;
  delete) tpus queued-resources delete "$NAME" --force --quiet ;;
  resume) resume "$@" ;;
esac
