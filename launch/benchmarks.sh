#!/usr/bin/env bash
# Makes every table of README.md and the card of weights/story anew:
#
#   bash launch/benchmarks.sh DIR [--config.KEY=VALUE...]
#
# with the Python that is active and has cinejax, of the networks in the folder
# $WEIGHTS (weights/story; launch/story.sh makes others in its DIR/weights), and
# with $SEEDS sampling seeds a film (3). What is in DIR already is kept, and the
# same line goes on where it was stopped. Settings go to every command.
#
#   DIR/story_eval.json      everything, of camr and window
#   DIR/story_policies.json  after a given past, of every policy; .png, its plot
#   DIR/story_long.json      the same in films of 40 chunks
#   DIR/story_codec.json     the codec
#   DIR/story_STUDENT.json   everything, of each student that is there
#   DIR/story_minutes.json   two films of ten minutes, of whom serve is
#   DIR/story_speed.jsonl    stream, rollout and train of the base,
#   DIR/story_STUDENT_speed.jsonl, and
#   DIR/story_serve.jsonl    directors at once, of the student of four steps
#                            (without one, of the base in four): take nothing
#                            else onto the machine meanwhile
#
# DIR=benchmarks, once it is empty, is what ships; its ablation_FILE.json are
# table.json of `python -m cinejax.sweep configs/ablations/FILE.py`, and say by
# which lines they were made.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

if [ $# -lt 1 ] || [ "${1#-}" != "$1" ]; then
  echo 'error: say where to: bash launch/benchmarks.sh DIR [FLAG...]' >&2
  exit 2
fi
dir="$1"
shift
weights="${WEIGHTS:-weights/story}" seeds="${SEEDS:-3}"
mkdir -p "$dir"

keep() { # FILE AS: a copy, whole or not there
  cp "$1" "$2.part"
  mv "$2.part" "$2"
}

# Makes DIR/$1.json by evaluating config $3 in the folder $2, with flags.
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

# Adds rows to DIR/$1.jsonl by timing config $2, with flags.
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
policies=camr,window,sink,shot_sink,uniform,random,full
evaluate story_eval eval "$story" --policies=camr,window --seeds="$seeds" "$@"
evaluate story_policies eval "$story" --metrics=given --policies="$policies" \
  --seeds="$seeds" "$@"
if [ ! -e "$dir/story_policies.png" ]; then
  keep "$dir/eval/recall.png" "$dir/story_policies.png"
fi
evaluate story_long eval_long "$story" --metrics=given --policies="$policies" \
  --config.eval.kind=long --seeds="$seeds" "$@"
evaluate story_codec codec "$story" --metrics=codec "$@"
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
bench story_speed "$story" --what=stream --what=rollout --what=train "$@"
bench story_serve "$served" --what=serve --batch=4 --secs=45 \
  --config.rollout.steps=4 "$@"
