#!/usr/bin/env bash
# Creates a Cloud TPU pod and trains on all of its hosts:
#
#   export NAME=film ZONE=us-east5-a TYPE=v5p-128
#   bash launch/tpu_pod.sh create            request it (queued resources)
#   bash launch/tpu_pod.sh status            ACTIVE when it is ready
#   bash launch/tpu_pod.sh setup             copy this repository, install it
#   bash launch/tpu_pod.sh run -- --config=configs/wan_14b.py \
#     --workdir=/mnt/BUCKET/wan14b …         train; flags of cinejax.train
#   bash launch/tpu_pod.sh logs              follow what the hosts print
#   bash launch/tpu_pod.sh stop              save and end the run
#   bash launch/tpu_pod.sh delete
#   bash launch/tpu_pod.sh resume -- FLAGS   watches the pod; after every
#     preemption requests it again, sets it up, and runs the same command, which
#     continues from the newest checkpoint
#
# --dry_run before the word prints every command and runs none.
#
# Environment:
#   NAME      of the queued resource; its slices are NAME, or NAME-0, NAME-1, …
#   ZONE      such as us-east5-a
#   TYPE      such as v5p-128, v5litepod-256, v6e-256
#   SLICES    how many; 1
#   VERSION   of the TPU software; v2-alpha-tpuv5 for v5p and so on
#   SPOT      1: may be preempted, and costs less; 0
#   PROJECT   gcloud's default if empty
#   POLL_SECS between checks of a pod by resume; 60
#   TRIES     resume gives up after so many failures of gcloud in a row; 30
#   HALT_SECS that hosts have to save before a restart; 300
#
# The workdir must be a folder that all hosts see: Filestore, or a bucket
# mounted by gcsfuse, with --rename-dir-limit=100000 unless its namespace is
# hierarchical (a checkpoint is a folder that is renamed when it is complete).
# Needs gcloud, logged in, with permission for TPUs.
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 2
}

run() { # runs a command, or with --dry_run prints it
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

tpus() { # gcloud compute tpus WORDS…, with zone and project
  local where=(--zone="$ZONE")
  if [ -n "${PROJECT:-}" ]; then where+=(--project="$PROJECT"); fi
  run gcloud compute tpus "$@" "${where[@]}"
}

slices() { # prints the names of the slices, one per line
  local i
  if [ "$SLICES" = 1 ]; then
    echo "$NAME"
  else
    for ((i = 0; i < SLICES; i++)); do echo "$NAME-$i"; done
  fi
}

on_all() { # runs a shell command on every host of every slice at once
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
  local flags=(--accelerator-type="$TYPE" --runtime-version="$VERSION")
  if [ "$SLICES" = 1 ]; then
    flags+=(--node-id="$NAME")
  else
    flags+=(--node-count="$SLICES" --node-prefix="$NAME")
  fi
  if [ "${SPOT:-0}" = 1 ]; then flags+=(--spot); fi
  tpus queued-resources create "$NAME" "${flags[@]}"
}

state() { # prints ACTIVE, WAITING_FOR_RESOURCES, SUSPENDED, … or nothing
  tpus queued-resources describe "$NAME" --format='value(state.state)'
}

setup() {
  local archive slice
  archive="$(mktemp -d)/cinejax.tar.gz"
  run git archive --format=tar.gz --output="$archive" HEAD || return
  for slice in $(slices); do
    tpus tpu-vm scp "$archive" "$slice:cinejax.tar.gz" --worker=all || return
  done
  on_all "$INSTALL"
}

# The run outlives the connection and leaves its exit code in the file rc. A
# second run is refused while one is alive.
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

look() { # prints the state, or NOT_FOUND; fails if gcloud fails otherwise
  local errors now
  errors="$(mktemp)"
  if now="$(state 2>"$errors")"; then
    echo "$now"
  elif grep -q NOT_FOUND "$errors"; then
    echo NOT_FOUND
  else
    cat "$errors" >&2
    rm "$errors"
    return 1
  fi
  rm "$errors"
}

look_inside() { # prints the states of the hosts' runs, each once; or fails
  local states
  states="$(on_all "$HOST_SAYS")" || return
  sed -n 's/^cinejax-host: //p' <<<"$states" | sort -u | paste -sd ' '
}

remake() {
  tpus queued-resources delete "$NAME" --force --quiet && create
}

restart() { # stops the hosts first: live ones would refuse, and keep old code
  on_all "$HALT" && setup && start "$@"
}

tend() { # FLAGS…: checks the hosts of an active pod and restarts or ends
  local before="$HOSTS"
  HOSTS="$(look_inside)" || return
  echo "$NAME: its hosts are $HOSTS"
  case "$HOSTS" in
    finished) DONE=1 ;;
    failed)
      on_all 'tail -n 5 cinejax/log' || true
      fail "the run on $NAME ended with an error; see above"
      ;;
    alive | 'alive finished') ;;
    # a host that fails ends the others too, if they are given time
    *alive*) if [ "$HOSTS" = "$before" ]; then restart "$@"; fi ;;
    *) restart "$@" ;;
  esac
}

attend() { # FLAGS…: checks the pod once and does what it needs
  local now
  now="$(look)" || return
  echo "$NAME is $now"
  case "$now" in
    ACTIVE) tend "$@" ;;
    SUSPENDED | FAILED) remake ;;
    NOT_FOUND) create ;;
  esac
}

# A failure may be that of gcloud or of a connection, so it is tried again. A
# run that was stopped on a machine that stayed alive has exit code 0 too; its
# log says `stopped at`.
resume() {
  local failures=0
  DONE=0 HOSTS=''
  if [ "$DRY" = 1 ]; then
    state
    remake
    restart "$@"
    return
  fi
  [ $# -gt 0 ] || fail 'resume needs the flags of cinejax.train after --'
  while [ "$DONE" = 0 ]; do
    if attend "$@"; then
      failures=0
    else
      failures=$((failures + 1))
      [ "$failures" -lt "${TRIES:-30}" ] ||
        fail "gcloud failed $failures times in a row; see above"
    fi
    [ "$DONE" = 1 ] || sleep "${POLL_SECS:-60}"
  done
  echo "$NAME has finished"
}

# within cinejax/; the process of a dead run may still be in the process table
ALIVE="test ! -e rc && kill -0 \"\$(cat pid 2>/dev/null)\" 2>/dev/null"
HOST_SAYS="echo cinejax-host: \$(cd cinejax 2>/dev/null || { echo absent; exit; }
if $ALIVE; then echo alive
elif ! test -e rc; then echo dead
elif ! grep -qx 0 rc; then echo failed
elif grep -q 'stopped at' log; then echo stopped
else echo finished; fi)"
HALT="cd cinejax 2>/dev/null || exit 0
for signal in TERM KILL; do
$ALIVE || exit 0
pkill -\$signal -P \"\$(cat pid)\"
for _ in \$(seq ${HALT_SECS:-300}); do $ALIVE || exit 0; sleep 1; done
done; exit 1"
INSTALL='rm -rf cinejax.new && mkdir cinejax.new &&
tar -xzf cinejax.tar.gz -C cinejax.new && mkdir -p cinejax &&
cp -r cinejax.new/. cinejax/ && cd cinejax &&
{ python3.12 -m venv .venv || python3.11 -m venv .venv ||
  { python3 -m pip install --quiet --user uv &&
    python3 -m uv venv --seed --python 3.12 .venv; } ||
  { echo "error: no Python 3.12 or 3.11 here; install one" >&2; exit 1; }; } &&
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
  VERSION="${VERSION:-$(version)}"
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
