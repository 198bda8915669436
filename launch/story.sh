#!/usr/bin/env bash
# Trains every network of the story world from random weights, in the order
# codec, base and students, and renders the films that they are trained on.
#
#   bash launch/story.sh DIR [--config.KEY=VALUE...]
#
# Uses the active Python, which must have cinejax. Networks that DIR already has
# are not trained again and a training that was stopped continues, so the same
# command can be repeated, for instance under `timeout`, until all are there.
# Settings go to every training. The environment variables STORY_FILMS and
# STORY_LONG_FILMS set the number of films and of long films; a film takes about
# 60 kB.
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
films="${STORY_FILMS:-65536}" long="${STORY_LONG_FILMS:-2048}"
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

write_films() {
  python -m data_prep.story --config=configs/story.py \
    --weights="$codec" "$@"
}

train codec codec configs/story.py --config.train.stages="('codec',)" "$@"
codec="$weights/codec.safetensors"
write_films --out="$dir/films" --films="$films"
train base base configs/story.py --config.train.stages="('base',)" \
  --config.data.films="$dir/films" "$@"
write_films --out="$dir/long" --films="$long" --kind=long --seed=1
train init init configs/story.py:four --config.train.stages="('init',)" \
  --config.train.base_weights="$weights/base.safetensors" \
  --config.data.films="$dir/films" "$@"
before=init # each student starts from the one with more steps
for student in four two one; do
  train dmd "short_$student" "configs/story.py:$student" \
    --config.train.stages="('dmd',)" \
    --config.train.base_weights="$weights/base.safetensors" \
    --config.train.init_weights="$weights/$before.safetensors" \
    --config.data.films="$dir/films" "$@"
  before="short_$student"
  train tune "$student" "configs/story.py:$student" \
    --config.train.stages="('tune',)" \
    --config.train.base_weights="$weights/base.safetensors" \
    --config.train.dmd_weights="$weights/short_$student.safetensors" \
    --config.data.films="$dir/long" --config.data.chunks=40 "$@"
done
