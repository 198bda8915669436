"""One table of multi-shot metrics, with the columns of ShotStream's.

ShotStream (arXiv 2603.25746) and MultiShotMaster measure SCA, consistency
within shots, consistency between shots and agreement with the text. The table
has the same columns, computed here by DINOv2 and CLIP, and says in which way
each definition differs.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Column(NamedTuple):
  """A column of the table, and how its metric differs from the papers'."""

  title: str
  metric: str  # of a report
  difference: str


COLUMNS = (
  Column('SCA', 'sca', 'cuts by config.eval.cuts; the papers: TransNet V2'),
  Column('subject in a shot', 'intra_dinov2', 'DINOv2; the papers: DINO'),
  Column('background in a shot', 'intra_clip', 'none but the version of CLIP'),
  Column(
    'semantic between shots',
    'inter_clip',
    'mean CLIP features of the frames of a shot; the papers: ViCLIP',
  ),
  Column(
    'subject and scene between shots',
    'inter_keyframes_dinov2',
    'DINOv2 of whole first, middle and last frames; the papers cut out '
    'subject and scene with YOLOv11 and SAM',
  ),
  Column('text', 'text_clip', 'CLIP; the papers: ViCLIP'),
)

# rows that papers report: (model, source, values of COLUMNS)
_REPORTED = (
  ('ShotStream', 'arXiv 2603.25746', (0.978, None, None, None, None, None)),
  (
    'ShotStream',
    'CausalCine, arXiv 2605.12496',
    (0.9647, 0.9617, 0.9670, None, None, 0.1753),
  ),
  (
    'CausalCine',
    'CausalCine, arXiv 2605.12496',
    (0.9732, 0.9717, 0.9675, None, None, 0.1980),
  ),
)


def markdown(policies: Mapping[str, Any]) -> list[str]:
  """The table, with a row for each policy; [] without learnt features."""
  found = {policy: entry['all'] for policy, entry in policies.items()}
  learnt = [column.metric for column in COLUMNS[1:]]
  if not any(name in entry for entry in found.values() for name in learnt):
    return []
  titles = ['model', *(column.title for column in COLUMNS)]
  lines = ['## Multi-shot metrics, as ShotStream reports them', '']
  lines += [f'| {" | ".join(titles)} |', '|' + '---|' * len(titles)]
  for policy, entry in found.items():
    values = [entry.get(c.metric, {}).get('mean') for c in COLUMNS]
    lines.append(_row(policy, values))
  for model, source, values in _REPORTED:
    lines.append(_row(f'{model} (reported: {source})', values))
  lines += ['', 'Reported rows have other prompts, and other judges:', '']
  lines += [f'* {c.title} (`{c.metric}`): {c.difference}' for c in COLUMNS]
  return lines


def _row(name: str, values) -> str:
  cells = ['–' if value is None else f'{value:.4g}' for value in values]
  return f'| {" | ".join([name, *cells])} |'
