#!/usr/bin/env bash
# Compiles the steps of Wan's configs for pods and GPU hosts that are not here,
# and writes what each needs to benchmarks/plans.jsonl and, as a table, between
# the marks in BUILD.md:
#
#   bash launch/plans.sh            what is not in benchmarks/plans.jsonl yet
#   bash launch/plans.sh --table    the table alone
#
# Needs pip install -e '.[plan-tpu]' for TPUs, '.[plan-gpu]' for GPUs. A row
# takes from half a minute (GPU) to some (TPU) on two cores; remove rows, or the
# file, to have them made anew.
set -euo pipefail
if [ -z "${PYTHON:-}" ]; then
  # shellcheck source=launch/setup.sh
  source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
fi
ROWS=benchmarks/plans.jsonl

plan() { # MODEL STAGE CHUNKS TOPOLOGY BATCH FLAG…
  local key="$1 $2 $3 $4" batch=()
  local config="configs/wan_$1.py"
  if grep -qsF "\"key\": \"$key\"" "$ROWS"; then return; fi
  if [ "$2" = rollout ]; then
    batch=(--config.rollout.sampler=few_step --config.rollout.steps=4
      --config.rollout.guidance=1.0)
  else
    batch=(--config.stage."$2".batch="$5")
  fi
  echo "$key" >&2
  "$PYTHON" -m cinejax.plan --config="$config" --stage="$2" --topology="$4" \
    --config.data.chunks="$3" "${batch[@]}" "${@:6}" --key="$key" \
    --out="$ROWS" >/dev/null || echo "$key: no plan; see above" >&2
}

if [ "${1:-}" != --table ]; then
  for chunks in 7 20; do # 81 and 237 pixel frames
    for stage in base dmd; do
      plan 1_3b $stage $chunks h100:1x1x1 1
      plan 14b $stage $chunks h100:1x8x8 8
      plan 1_3b $stage $chunks v5p:2x2x4 4 --config.mesh.sequence=4
      plan 14b $stage $chunks v5p:4x4x4 8
      plan 14b $stage $chunks v5e:16x16 32
      plan 14b $stage $chunks v6e:16x16 32
    done
  done
  plan 1_3b rollout 7 h100:1x1x1 1
  plan 14b rollout 7 h100:1x1x8 1 --config.mesh.fsdp=1
  plan 14b rollout 7 v5p:2x2x2 1 --config.mesh.fsdp=1
  plan 14b rollout 7 v6e:2x4 1 --config.mesh.fsdp=1
fi

"$PYTHON" - "$ROWS" BUILD.md <<'TABLE'
import json
import pathlib
import re
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
names = ('config', 'stage', 'frames', 'topology', 'fsdp × sequence × tensor')
sizes = ('weights and optimizer', 'bank', 'activations', 'total', 'has')
lines = [' | '.join((*names, *sizes, 'fits', 'secs')), '|'.join(['---'] * 12)]
for row in rows:
  used, mesh = row['bytes'], row['mesh']
  frames = '–'
  if row['chunks']:
    frames = 4 * row['chunks'] * row['frames_per_chunk'] - 3
  lasting = sum(
    used.get(kind, 0) for kind in ('params', 'optimizer', 'ema', 'frozen')
  )
  parts = (
    lasting, used.get('bank'), used.get('activations'), used['total'],
    row['hbm_bytes'],
  )
  cells = [
    row['config'], row['stage'], frames, row['topology'],
    ' × '.join(str(mesh[a]) for a in ('fsdp', 'sequence', 'tensor')),
    *(f'{part / 2**30:.1f}' if part else '–' for part in parts),
    'yes' if row['fits'] else 'no: ' + '; '.join(row['change'][:2]),
    round(row['compile_secs']),
  ]
  lines.append(' | '.join(str(cell) for cell in cells))
table = '\n'.join(f'| {line} |' for line in lines)
path = pathlib.Path(sys.argv[2])
text, found = re.subn(
  '(<!-- plans -->\n).*?(<!-- /plans -->)',
  lambda match: f'{match[1]}{table}\n{match[2]}',
  path.read_text(),
  flags=re.DOTALL,
)
assert found == 1, 'BUILD.md has lost its marks'
path.write_text(text)
TABLE
