#!/usr/bin/env bash
# Measures the networks of the story world:
#
#   bash launch/benchmarks.sh DIR [--config.KEY=VALUE...]
#
# Uses the active Python, which must have cinejax, and the networks in the
# folder $WEIGHTS (weights/story; launch/story.sh makes others in its
# DIR/weights), with $SEEDS sampling seeds per film (3). Files that DIR already
# has are kept, so the same command continues where it was stopped. Settings go
# to every command.
#
#   DIR/story_eval.json      all metrics, policies camr and window
#   DIR/story_policies.json  after a given past, every policy; .png, its plot
#   DIR/story_head.json      the same with camr, which each head applies
#   DIR/story_long.json      policies in films of 40 chunks
#   DIR/story_head_long.json  the same with camr, which each head applies
#   DIR/story_policies_speed.jsonl  the time of all of these
#   DIR/story_codec.json     the codec
#   DIR/story_cast.json      after a picture
#   DIR/story_STUDENT.json   all metrics of each student that exists
#   DIR/story_minutes.json   two films of ten minutes, by the network that
#                            story_serve.jsonl uses
#   DIR/story_speed.jsonl    stream, rollout and train of the base,
#   DIR/story_STUDENT_speed.jsonl,
#   DIR/story_train.jsonl    an update of the curriculum, and
#   DIR/story_serve.jsonl    several films at once by the student of four steps
#                            (without it, by the base in four): run nothing else
#                            on the machine meanwhile
#   DIR/story_soak.jsonl     memory of such a server in half an hour
#
# With DIR=benchmarks, emptied before, it makes the files that ship; then
# `python launch/results.py` writes the tables of README.md and
# docs/benchmarks.md. The ablation_FILE.json there are the table.json of
# `python -m cinejax.sweep configs/ablations/FILE.py`, and hold the command of
# every point.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

if [ $# -lt 1 ] || [ "${1#-}" != "$1" ]; then
  echo 'error: DIR is missing: bash launch/benchmarks.sh DIR [FLAG...]' >&2
  exit 2
fi
dir="$1"
shift
weights="${WEIGHTS:-weights/story}" seeds="${SEEDS:-3}"
mkdir -p "$dir"

keep() { # FILE COPY: copies atomically
  cp "$1" "$2.part"
  mv "$2.part" "$2"
}

# Makes DIR/$1.json by evaluating config $3 into the folder $2, with flags.
evaluate() {
  local table="$dir/$1.json" out="$dir/$2" config="$3"
  shift 3
  if [ -e "$table" ]; then
    return
  fi
  python -m cinejax.evaluate --config="$config" --weights="$weights" \
    --out="$out" "$@"
  keep "$out/report.json" "$table"
}

# Makes DIR/$1.jsonl by timing config $2, with flags.
bench() {
  local table="$dir/$1.jsonl" config="$2"
  shift 2
  if [ -e "$table" ]; then
    return
  fi
  rm -f "$table.part"
  python -m cinejax.bench --config="$config" --weights="$weights" \
    --out="$table.part" "$@"
  mv "$table.part" "$table"
}

story=configs/story.py
served="$story"
policies=camr,window,sink,shot_sink,uniform,random,rag,full
evaluate story_eval eval "$story" --policies=camr,window --seeds="$seeds" "$@"
evaluate story_policies eval "$story" --metrics=given --policies="$policies" \
  --seeds="$seeds" "$@"
if [ ! -e "$dir/story_policies.png" ]; then
  keep "$dir/eval/recall.png" "$dir/story_policies.png"
fi
head=--config.memory.scope=head
evaluate story_head eval_head "$story" --metrics=given --policies=camr \
  --seeds="$seeds" "$head" "$@"
evaluate story_long eval_long "$story" --metrics=given --policies="$policies" \
  --config.eval.kind=long --seeds="$seeds" "$@"
evaluate story_head_long head_long "$story" --metrics=given --policies=camr \
  --config.eval.kind=long --seeds="$seeds" "$head" "$@"
evaluate story_codec codec "$story" --metrics=codec "$@"
evaluate story_cast cast "$story" --metrics=cast --policies=camr \
  --seeds="$seeds" "$@"
for student in four two one; do
  if [ -e "$weights/$student.safetensors" ]; then
    evaluate "story_$student" "$student" "$story:$student" --seeds="$seeds" "$@"
    bench "story_${student}_speed" "$story:$student" --what=rollout \
      --what=first "$@"
  fi
done
if [ -e "$weights/four.safetensors" ]; then
  served="$story:four"
fi
evaluate story_minutes minutes "$served" --metrics=generated \
  --config.eval.kind=minutes --config.eval.films=2 "$@"
speeds="$dir/story_policies_speed.jsonl"
if [ ! -e "$speeds" ]; then
  rm -f "$speeds.part"
  for policy in ${policies//,/ } by_head; do
    setting="--config.memory.policy=$policy"
    if [ "$policy" = by_head ]; then setting="$head"; fi
    python -m cinejax.bench --config="$story" --weights="$weights" \
      --what=rollout "$setting" --out="$speeds.part" "$@"
  done
  mv "$speeds.part" "$speeds"
fi
bench story_speed "$story" --what=stream --what=rollout --what=train "$@"
bench story_train "$story:curriculum" --what=train --config.data.chunks=8 \
  --config.stage.base.phases="()" --config.stage.base.batch=12 "$@"
bench story_serve "$served" --what=serve --batch=4 --secs=45 \
  --config.rollout.steps=4 "$@"
bench story_soak "$served" --what=soak --batch=2 --secs=1800 "$@"
