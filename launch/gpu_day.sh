#!/usr/bin/env bash
# All that one GPU can say in a quarter of an hour:
#
#   bash launch/gpu_day.sh DIR [PART...]
#
# Each part has a time limit of its own, appends its JSON lines to
# DIR/PART.jsonl as soon as they are known, and a part that fails does not stop
# the next. A part that is done, DIR/PART.done, is not repeated, so that the same
# line goes on after an interruption. Without PART all are run, in this order:
#
#   story    configs/story.py:curriculum_large, from the weights STORY_BASE (the
#            base that ships; '' = from nothing), with STORY_STEPS updates in its
#            phases (default (2000,4600,1000)) and STORY_WORKERS processes (12)
#            that cast films: DIR/base.safetensors and the metrics
#            DIR/story.jsonl
#   chunk    a chunk of the 1.3B student in four steps at 832x480: with TAEHV and
#            with Wan's decoder, with commit separate, fused and reuse, in eight
#            bits, with layers unrolled, and the student of two steps per frame;
#            the times of first frames are rows of their own
#   train    an update of the 1.3B base at 81 frames, with MFU
#   peers    the same chunk beside PyTorch's, in the Python $TORCH_PYTHON, which
#            has torch and diffusers (launch/peers.py)
#   cudnn    cuDNN's attention against float32
#
# DIR/environment.json names the device and the versions. The active Python is
# used ($PYTHON if it is set). TINY=1 takes tiny shapes, for a trial on a CPU,
# and LIMIT_SCALE=5 limits five times as long, for a slow one.
set -uo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit

if [ $# -lt 1 ] || [ "${1#-}" != "$1" ]; then
  echo 'error: DIR is missing: bash launch/gpu_day.sh DIR [PART...]' >&2
  exit 2
fi
dir="$1"
shift
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(story chunk train peers cudnn)
python="${PYTHON:-python}"
mkdir -p "$dir"
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1
export JAX_COMPILATION_CACHE_DIR="$dir/jax_cache"

"$python" - "$dir/environment.json" <<'PY' || exit
import importlib.metadata, json, sys
import jax

names = ('jax', 'jaxlib', 'flax', 'optax', 'grain')
found = {name: importlib.metadata.version(name) for name in names}
device = jax.devices()[0]
found |= {'platform': device.platform, 'device': device.device_kind}
with open(sys.argv[1], 'w') as file:
  json.dump(found, file, indent=2)
print(json.dumps(found))
PY

wan=() story=() repeats=10 size=gpu
if [ -n "${TINY:-}" ]; then
  size=tiny
  wan=(--config.film.height=32 --config.film.width=48
    --config.dit.layers=2 --config.dit.heads=2 --config.dit.head_features=32
    --config.dit.mlp_features=128 --config.text.words=16
    --config.text.features=32 --config.codec.width=8 --config.codec.blocks=1
    --config.data.chunks=3)
  STORY_BASE=''
  story=(--config.dit.layers=1 --config.dit.heads=2
    --config.dit.head_features=8 --config.dit.mlp_features=16
    --config.alignment.layers='(0,)')
fi

# Runs what follows for at most $1 seconds, times LIMIT_SCALE.
limited() {
  timeout --signal=TERM --kill-after=20 "$(($1 * ${LIMIT_SCALE:-1}))" "${@:2}"
}

bench() { # seconds, part, config, flags of cinejax.bench
  limited "$1" "$python" -m cinejax.bench --config="$3" --repeats="$repeats" \
    --out="$dir/$2.jsonl" "${@:4}" "${wan[@]}"
}

story() {
  # Hundreds of small products: to tune each for Triton would take minutes.
  local -x XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_enable_triton_gemm=false"
  limited 900 "$python" -m cinejax.train --workdir="$dir/story" \
    --config=configs/story.py:curriculum_large \
    --config.train.stages="('base',)" \
    --config.train.codec_weights=weights/story/codec.safetensors \
    --config.train.base_weights="${STORY_BASE-weights/story/base.safetensors}" \
    --config.data.workers="${STORY_WORKERS:-12}" \
    --config.stage.base.phase_steps="${STORY_STEPS:-(2000,4600,1000)}" \
    --config.train.log_every_steps=100 --config.train.save_every_steps=1000 \
    --config.train.probe_every_steps=0 "${story[@]}" || return
  cp "$dir/story/base.safetensors" "$dir/base.safetensors"
  cp "$dir/story/metrics/base.jsonl" "$dir/story.jsonl"
}

chunk() {
  local failed=0 near=--config.memory.window_frames=3
  bench 120 chunk configs/wan_1_3b.py:four --what=rollout --what=first \
    --config.codec.name=taehv || failed=1
  bench 60 chunk configs/wan_1_3b.py:four --what=rollout "$near" \
    --config.codec.name=taehv || failed=1
  for commit in fused reuse; do
    bench 60 chunk configs/wan_1_3b.py:four --what=rollout \
      --config.codec.name=taehv --config.rollout.commit="$commit" || failed=1
  done
  bench 60 chunk configs/wan_1_3b.py:four --what=rollout \
    --config.codec.name=taehv --config.dit.precision=fp8 || failed=1
  bench 90 chunk configs/wan_1_3b.py:frame_two --what=rollout --what=first \
    --config.codec.name=taehv || failed=1
  bench 120 chunk configs/wan_1_3b.py:four --what=rollout || failed=1
  # Layers that are unrolled compile longest, so they come last.
  for precision in compute fp8; do
    bench 240 chunk configs/wan_1_3b.py:four --what=rollout --what=first \
      --config.codec.name=taehv --config.dit.unroll=rollout \
      --config.dit.precision="$precision" || failed=1
  done
  return "$failed"
}

train() {
  bench 150 train configs/wan_1_3b.py --what=train --config.stage.base.batch=1 \
    --config.stage.base.accumulate=1 --config.data.chunks=7
}

peers() {
  limited 300 "$python" launch/peers.py --size="$size" --repeats="$repeats" \
    --torch_python="${TORCH_PYTHON:-$python}" --out="$dir/peers.jsonl"
}

cudnn() {
  limited 60 "$python" tests/models/attention_forms.py cudnn |
    tee -a "$dir/cudnn.jsonl"
  return "${PIPESTATUS[0]}"
}

status=0
for part in "${parts[@]}"; do
  case "$part" in
  story | chunk | train | peers | cudnn) ;;
  *)
    echo "error: there is no part $part; parts are story, chunk, train, peers, cudnn" >&2
    exit 2
    ;;
  esac
  if [ -e "$dir/$part.done" ]; then
    echo "$part: done before"
    continue
  fi
  started=$SECONDS
  if "$part"; then
    touch "$dir/$part.done"
    echo "$part: done in $((SECONDS - started)) s"
  else
    echo "$part: failed after $((SECONDS - started)) s; going on" >&2
    status=1
  fi
done
exit "$status"
