#!/usr/bin/env bash
# Weak scaling of the compiled program, not of time: the story base's update on
# 1, 2, 4 and 8 virtual devices of this machine, one film each. Writes missing
# rows to benchmarks/scaling.jsonl and the table in docs/pods.md.
set -euo pipefail
if [ -z "${PYTHON:-}" ]; then
  # shellcheck source=launch/setup.sh
  source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
fi
ROWS=benchmarks/scaling.jsonl

for devices in 1 2 4 8; do
  key="story base $devices"
  if grep -qsF "\"key\": \"$key\"" "$ROWS"; then continue; fi
  "$PYTHON" -m cinejax.plan --config=configs/story.py --stage=base \
    --topology="cpu:$devices" --config.stage.base.batch="$devices" \
    --key="$key" --out="$ROWS" >/dev/null
done

INTO=(launch/into_docs.py docs/pods.md scaling)
"$PYTHON" - "$ROWS" <<'TABLE' | "$PYTHON" "${INTO[@]}"
import json
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
kinds = sorted({kind for row in rows for kind in row['collectives']})
names = ('devices', 'films', 'GFLOPs a device', 'share', 'MiB of it')
names += tuple(f'{kind}, MiB' for kind in kinds)
lines = [' | '.join(names), '|'.join(['---:'] * len(names))]
for row in rows:
  own = row['flops_device']
  cells = [row['devices'], row['batch'], f'{own / 1e9:.1f}']
  cells += [f'{row["flops_computed"] / row["devices"] / own:.0%}']
  cells += [f'{row["bytes"]["total"] / 2**20:.0f}']
  for kind in kinds:
    moved = row['collectives'].get(kind, {'bytes': 0})
    cells.append(f'{moved["bytes"] / 2**20:.1f}')
  lines.append(' | '.join(str(cell) for cell in cells))
print(*(f'| {line} |' for line in lines), sep='\n')
TABLE
