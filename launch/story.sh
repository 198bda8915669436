#!/usr/bin/env bash
# Trains the networks of the story world from random weights, in the order codec,
# base and students, on films that are rendered meanwhile.
#
#   bash launch/story.sh DIR [--config.KEY=VALUE...]
#
# Uses the active Python, which must have cinejax. Networks that DIR already has
# are not trained again and a training that was stopped continues, so the same
# command can be repeated, for instance under `timeout`, until all are there.
# Settings go to every training. The environment variable STORY_BASE is the
# variant of configs/story.py that trains the base: `curriculum_large`, or
# `curriculum` for a machine without an accelerator.
#
# DIR/weights is a folder for --weights: codec, base, and the students four,
# two and one (configs/story.py:four and so on).
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

if [ $# -lt 1 ] || [ "${1#-}" != "$1" ]; then
  echo 'error: DIR is missing: bash launch/story.sh DIR [FLAG...]' >&2
  exit 2
fi
dir="$1"
shift
weights="$dir/weights"
mkdir -p "$weights"

# Trains stage $1 of config $3, with further flags, and copies its weights to
# DIR/weights/$2.safetensors.
train() {
  local stage="$1" name="$2" config="$3" run="$dir/$2"
  shift 3
  if [ -e "$weights/$name.safetensors" ]; then
    return
  fi
  python -m cinejax.train --config="$config" --workdir="$run" \
    --config.train.codec_weights="${codec:-}" "$@"
  if [ ! -e "$run/$stage.safetensors" ]; then # stopped by a signal, and saved
    echo "$name is not trained yet; the same command continues its training" >&2
    exit 130
  fi
  cp "$run/$stage.safetensors" "$weights/.$name.part"
  mv "$weights/.$name.part" "$weights/$name.safetensors"
}

train codec codec configs/story.py --config.train.stages="('codec',)" "$@"
codec="$weights/codec.safetensors"
train base base "configs/story.py:${STORY_BASE:-curriculum_large}" \
  --config.train.stages="('base',)" "$@"
base=--config.train.base_weights="$weights/base.safetensors"
train init init configs/story.py:four --config.train.stages="('init',)" \
  "$base" "$@"
before=init # that of one step starts from that of two
for student in four two one; do
  train dmd "$student" "configs/story.py:$student" \
    --config.train.stages="('dmd',)" "$base" \
    --config.train.init_weights="$weights/$before.safetensors" "$@"
  if [ "$student" = two ]; then before=two; fi
done
