"""Writes the tables of results in README.md and docs/benchmarks.md.

  python launch/results.py

Every figure comes from benchmarks/*.json and *.jsonl; nothing is measured. Run
it after those files have changed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from into_docs import put
from speed_tables import films_in_fp8, h100, peers, precision, serving, speed
from tables import ROOT, percent, read_json, read_rows, write_table

MODELS = ('eval', 'four', 'two', 'one')  # benchmarks/story_NAME.json


def _plain(x: float) -> str:
  return f'{x:.3g}'


# last word of a metric's name -> how it is written; all others are shares
_ENDINGS: dict[str, Callable[[float], str]] = {
  'bytes': lambda x: f'{x / 1e6:.3g} MB',
  '_bank': lambda x: f'{x:.1f} dB',
  '_ms': lambda x: f'{x:.0f} ms',
  'secs': lambda x: f'{x:.0f} s',
  'loss': _plain,
  'flicker': _plain,
  'steps': _plain,
}
# name in a report -> (what a table calls it, how it is written, goal)
FIGURES: dict[str, tuple[str, Callable[[float], str], str]] = {
  'place': ('the place is the requested one', percent, '90 %'),
  'size': ('the shot size is the requested one', percent, '85 %'),
  'action': ('the action is the requested one', percent, '–'),
  'sca': ('shot cut accuracy (SCA)', _plain, '.95'),
  'unreadable': ('frames without a recognizable character', percent, '–'),
  'appearance_bits': (
    'entropy of drawn appearances, of 4.58 bits',
    _plain,
    '–',
  ),
  'recall_given': (
    'a returning character looks the same, after a given past',
    percent,
    '60 %',
  ),
  'recall_given_chance': ('the same by chance', percent, '≤ 6 %'),
  'recall': ('the same in films directed from the start', percent, '–'),
  'recall_given_hue': (
    'its hue is the same, after a given past',
    percent,
    '85 %',
  ),
  'recall_given_shape': ('its shape is the same, likewise', percent, '–'),
  'recall_given_pattern': ('its pattern is the same, likewise', percent, '–'),
  'recall_swap': (
    'it has an appearance that was swapped in that past',
    percent,
    '–',
  ),
}
# (split of a report, its class, what a table calls it)
PARTS = (
  ('all', '', 'all returns'),
  ('kind', 'opening', 'returns of the opening shot'),
  ('kind', 'later', 'returns of later shots'),
  ('candidates', '1', 'nobody else has been away as long'),
  ('candidates', '2', 'one other has'),
  ('candidates', '3', 'two others have'),
)
SHORT = ('place', 'size', 'sca', 'recall_given', 'recall_given_chance')


def _mean(metrics: dict[str, Any], name: str) -> str:
  value = metrics.get(name, {}).get('mean')
  return '–' if value is None else _writer(name)(value)


def _writer(name: str) -> Callable[[float], str]:
  """How a metric is written, by the last word of its name."""
  short = name.rpartition(' ')[2]
  if short in FIGURES:
    return FIGURES[short][1]
  for ending, write in _ENDINGS.items():
    if short.endswith(ending):
      return write
  return percent


def models(names: Sequence[str]) -> str:
  """The base and the students that were measured, by columns."""
  reports, speeds = [], []
  for name in MODELS:
    if (ROOT / 'benchmarks' / f'story_{name}.json').exists():
      reports.append(read_json(f'story_{name}'))
      timed = 'story_speed' if name == 'eval' else f'story_{name}_speed'
      speeds += [row for row in read_rows(timed) if row['what'] == 'rollout']
  head = [
    f'{"student" if report["sampler"] == "few_step" else "base"}, '
    f'{report["steps"]} step{"s" * (report["steps"] > 1)}'
    for report in reports
  ]
  found = [report['policies']['camr']['all'] for report in reports]
  rows = [
    (FIGURES[name][0], *(_mean(m, name) for m in found), FIGURES[name][2])
    for name in names
  ]
  where = f'{speeds[0]["host_cpus"]} CPU cores'
  if speeds[0]['device'] != 'cpu':
    where = speeds[0]['device']
  fps = [f'{row["pixel_fps_codec"]:.0f}' for row in speeds]
  rows.append((f'frames per second with codec, {where}', *fps, '40'))
  return write_table(('', *head, 'goal'), rows)


def codec() -> str:
  """What the codec loses, and what is still read through it."""
  found = read_json('story_codec')['codec']
  rows = [
    ('PSNR of held-out films', f'{found["psnr"]["mean"]:.1f} dB', '28 dB')
  ]
  for name in ('appearance', 'place', 'size'):
    share = percent(found[f'read_codec_{name}']['mean'])
    rows.append((f'frames whose {name} is read correctly', share, '97 %'))
  return write_table(('', 'codec', 'goal'), rows)


def _part(report: dict[str, Any], split: str, name: str = '') -> dict[str, Any]:
  """The metrics of a policy, or of a class of its films; {} if unmeasured."""
  metrics = report.get(split, {})
  return metrics.get(name, {}) if name else metrics


def policies() -> str:
  """Recall after a given past, by memory policy and kind of return."""
  head = 'camr by head'
  known = [*read_json('story_policies')['policies'], head]
  rows = []
  for file, by_head, films in (
    ('story_policies', 'story_head', ''),
    ('story_long', 'story_head_long', '40 chunks: '),
  ):
    found = read_json(file)['policies']
    found[head] = read_json(by_head)['policies']['camr']
    for split, name, what in PARTS:
      parts = [_part(found.get(policy, {}), split, name) for policy in known]
      counts = [part['recall_given']['n'] for part in parts if part]
      if counts:
        cells = [_mean(metrics, 'recall_given') for metrics in parts]
        rows.append((f'{films}{what} ({counts[0]})', *cells))
    alls = [_part(found.get(policy, {}), 'all') for policy in known]
    hits = [_mean(metrics, 'route_hit_1') for metrics in alls]
    rows.append((f'{films}a frame of the character is routed, layer 1', *hits))
  times = [
    f'{row["chunk_ms"]["median"]:.0f} ms'
    for row in read_rows('story_policies_speed')
  ]
  rows.append(('a chunk of 12 frames takes, 2 CPU cores', *times))
  return write_table(('', *known), rows)


def minutes() -> str:
  """The first and the last minute of films of ten minutes."""
  drift = read_json('story_minutes')['policies']['camr']['drift']
  names = ('place', 'size', 'action', 'unreadable', 'recall', 'saturation')
  return write_table(
    ('', 'first minute', 'last minute'),
    [
      (name, *(_mean(drift[part], name) for part in ('first', 'last')))
      for name in names
    ],
  )


def ablations() -> str:
  """The question and the points of every ablation that was run.

  Columns are the metrics of the ablation's own table that were measured.
  """
  parts = []
  for path in sorted((ROOT / 'benchmarks').glob('ablation_*.json')):
    found = read_json(path.stem)
    rows = found['table']
    names = [
      name
      for name in found['shown']
      if any(name in figures for figures in rows.values())
    ]
    table = write_table(
      ('point', *names),
      [
        (f'`{point}`', *(_mean(figures, name) for name in names))
        for point, figures in rows.items()
      ],
    )
    file = path.stem.removeprefix('ablation_')
    parts.append(f'**{found["question"]}** (`{file}.py`)\n\n{table}')
  return '\n'.join(parts)


def tables() -> dict[str, dict[str, str]]:
  """Page -> mark -> table."""
  return {
    'README.md': {'results': models(SHORT)},
    'docs/benchmarks.md': {
      'models': models(tuple(FIGURES)),
      'policies': policies(),
      'codec': codec(),
      'minutes': minutes(),
      'speed': speed(),
      'h100': h100(),
      'peers': peers(),
      'precision': precision(),
      'films_in_fp8': films_in_fp8(),
      'serving': serving(),
      'ablations': ablations(),
    },
  }


if __name__ == '__main__':
  for page, marked in tables().items():
    path = ROOT / page
    text = path.read_text()
    for mark, table in marked.items():
      text = put(text, mark, table)
    path.write_text(text)
