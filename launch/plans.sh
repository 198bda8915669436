#!/usr/bin/env bash
# Compiles the updates of Wan's configs for pods and GPU hosts that are not
# present, and writes the memory that each needs to benchmarks/plans.jsonl and
# as a table between its marks in docs/pods.md:
#
#   bash launch/plans.sh            rows that benchmarks/plans.jsonl lacks
#   bash launch/plans.sh h100       those of them whose key contains this
#   QUICK=1 bash launch/plans.sh    with plan's --quick: TPU rows 4 times faster
#   bash launch/plans.sh --table    only writes the table
#
# Plans are with config.dit.remat=full, the least memory that an update can take.
# Needs pip install -e '.[plan-tpu]' for TPUs, '.[plan-gpu]' for GPUs. A row
# takes one to five minutes of a core for GPUs and 5 to 30 for TPUs. Remove
# rows, or the file, to compute them again.
set -euo pipefail
if [ -z "${PYTHON:-}" ]; then
  # shellcheck source=launch/setup.sh
  source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
fi
ROWS=benchmarks/plans.jsonl
WANTED="${1:-}"

plan() { # MODEL STAGE CHUNKS TOPOLOGY BATCH FLAG…
  local key="$*" batch=()
  local config="configs/wan_$1.py"
  if [ "$2" = dmd ]; then config+=:four; fi # the student that it trains
  case "$key" in *"$WANTED"*) ;; *) return ;; esac
  if grep -qsF "\"key\": \"$key\"" "$ROWS"; then return; fi
  if [ "$2" = rollout ]; then
    batch=(--config.rollout.sampler=few_step --config.rollout.steps=4
      --config.rollout.guidance=1.0)
  else
    batch=(--config.stage."$2".batch="$5")
  fi
  echo "$key" >&2
  "$PYTHON" -m cinejax.plan --config="$config" --stage="$2" --topology="$4" \
    --config.dit.remat=full --config.data.chunks="$3" "${batch[@]}" "${@:6}" \
    ${QUICK:+--quick} --key="$key" --out="$ROWS" >/dev/null ||
    echo "$key: no plan; see above" >&2
}

# 7 and 20 chunks are 81 and 237 pixel frames
OWN=(--config.dmd.real_layers=0 --config.dmd.real_heads=0
  --config.dmd.real_mlp_features=0) # a real score of the student's size
if [ "$WANTED" != --table ]; then
  plan 14b base 20 v5p:4x4x4 8
  plan 14b dmd 20 v5p:4x4x4 8
  plan 14b base 7 v5e:16x16 32
  plan 1_3b base 7 h100:1x1x1 1
  plan 1_3b dmd 7 h100:1x1x1 1 "${OWN[@]}"
  for chunks in 7 20; do
    for stage in base dmd; do
      plan 1_3b $stage $chunks h100:1x1x1 1
      plan 14b $stage $chunks h100:1x8x8 8
      plan 14b $stage $chunks v5p:4x4x4 8
      for topology in v5p:2x2x4 v5e:4x4 v6e:4x4; do
        plan 1_3b $stage $chunks $topology 4 --config.mesh.sequence=4
      done
      plan 14b $stage $chunks v5e:16x16 32
      plan 14b $stage $chunks v6e:16x16 32
    done
  done
  # films as long as the memory of such chips allows
  plan 14b base 15 v6e:16x16 32
  plan 14b dmd 4 v5e:16x16 32
  # updates of the runbooks: 64 films, one per group of devices at a time
  plan 14b base 20 h100:1x8x8 64 --config.stage.base.accumulate=8
  plan 1_3b base 20 h100:1x8x8 64 --config.mesh.sequence=2 \
    --config.stage.base.accumulate=2
  plan 1_3b dmd 20 h100:1x1x1 1 "${OWN[@]}"
  plan 1_3b rollout 7 h100:1x1x1 1
  # ten minutes of film, of which every frame can be routed
  plan 1_3b rollout 7 h100:1x1x1 1 --config.memory.archive=host \
    --config.memory.dtype=int4
  plan 14b rollout 7 h100:1x1x8 1 --config.mesh.fsdp=1
  plan 14b rollout 7 v5p:2x2x2 1 --config.mesh.fsdp=1
  plan 14b rollout 7 v6e:2x4 1 --config.mesh.fsdp=1
  plan 14b rollout 7 v5e:2x4 1 --config.mesh.fsdp=1
  # Wan 2.2 5B at 1280x704
  plan 5b rollout 7 h100:1x1x1 1 --config.mesh.sequence=1
  plan 5b base 7 h100:1x8x8 64 --config.stage.base.accumulate=2
  plan 5b base 20 h100:1x8x8 64 --config.stage.base.accumulate=2
  plan 5b dmd 20 h100:1x8x8 64 --config.stage.dmd.accumulate=2
  for topology in v5p:2x2x1 v6e:2x2; do
    plan 5b rollout 7 $topology 1 --config.mesh.fsdp=1 \
      --config.mesh.sequence=4
  done
  for topology in v5p:4x4x4 v6e:8x8; do
    for stage in base dmd; do
      plan 5b $stage 20 $topology 16 --config.mesh.sequence=4
    done
  done
  for topology in v5p:2x2x1 v5e:2x2 v6e:2x2; do
    plan 1_3b rollout 7 $topology 1 --config.mesh.fsdp=1 \
      --config.mesh.sequence=4
  done
fi

"$PYTHON" - "$ROWS" <<'TABLE' | "$PYTHON" launch/into_docs.py docs/pods.md plans
import json
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
names = ('config', 'stage', 'with', 'frames', 'topology')
names += ('fsdp × sequence × tensor',)
sizes = ('weights and optimizer', 'bank', 'activations', 'total', 'has')
lines = [' | '.join((*names, *sizes, 'fits', 'secs')), '|'.join(['---'] * 13)]
for row in rows:
  used, mesh = row['bytes'], row['mesh']
  flags = ' '.join(
    flag.removeprefix('--config.')
    for flag in row['key'].split()[5:]
    if not flag.startswith('--config.mesh')
  )
  frames = '–'
  if row['chunks']:
    frames = 4 * row['chunks'] * row['frames_per_chunk'] - 3
  kinds = ('params', 'optimizer', 'ema', 'frozen', 'codec', 'text')
  lasting = sum(used.get(kind, 0) for kind in kinds)
  bank = used.get('bank', 0) + used.get('descriptors', 0)
  parts = (
    lasting, bank, used.get('activations'), used['total'], row['hbm_bytes'],
  )
  cells = [
    row['config'], row['stage'], flags or '–', frames, row['topology'],
    ' × '.join(str(mesh[a]) for a in ('fsdp', 'sequence', 'tensor')),
    *(f'{part / 2**30:.1f}' if part else '–' for part in parts),
    'yes' if row['fits'] else 'no: ' + '; '.join(row['change'][:2]),
    f"{row['compile_secs']:.0f}{' quick' * row.get('quick', False)}",
  ]
  lines.append(' | '.join(str(cell) for cell in cells))
print(*(f'| {line} |' for line in lines), sep='\n')
TABLE
