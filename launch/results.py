"""Writes the tables of results in README.md and docs/benchmarks.md.

  python launch/results.py

Every figure comes from benchmarks/*.json and *.jsonl; nothing is measured. Run
it after those files have changed.
"""

import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from into_docs import put

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODELS = ('eval', 'four', 'two', 'one')  # benchmarks/story_NAME.json


def _percent(x: float) -> str:
  return f'{100 * x:.3g} %'


def _plain(x: float) -> str:
  return f'{x:.3g}'


# name in a report -> (what a table calls it, how it is written, goal)
FIGURES: dict[str, tuple[str, Callable[[float], str], str]] = {
  'place': ('the place is the requested one', _percent, '90 %'),
  'size': ('the shot size is the requested one', _percent, '85 %'),
  'action': ('the action is the requested one', _percent, '–'),
  'sca': ('shot cut accuracy (SCA)', _plain, '.95'),
  'unreadable': ('frames without a recognizable character', _percent, '–'),
  'appearance_bits': (
    'entropy of drawn appearances, of 4.58 bits',
    _plain,
    '–',
  ),
  'recall_given': (
    'a returning character looks the same, after a given past',
    _percent,
    '60 %',
  ),
  'recall_given_chance': ('the same by chance', _percent, '≤ 6 %'),
  'recall': ('the same in films directed from the start', _percent, '–'),
}
SHORT = ('place', 'size', 'sca', 'recall_given', 'recall_given_chance')


def _read(name: str) -> Any:
  return json.loads((ROOT / 'benchmarks' / f'{name}.json').read_text())


def _rows(name: str) -> list[dict[str, Any]]:
  text = (ROOT / 'benchmarks' / f'{name}.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _mean(metrics: dict[str, Any], name: str) -> str:
  value = metrics.get(name, {}).get('mean')
  write = FIGURES[name][1] if name in FIGURES else _percent
  return '–' if value is None else write(value)


def models(names: Sequence[str]) -> str:
  """The base and the students that were measured, by columns."""
  reports, speeds = [], []
  for name in MODELS:
    if (ROOT / 'benchmarks' / f'story_{name}.json').exists():
      reports.append(_read(f'story_{name}'))
      timed = 'story_speed' if name == 'eval' else f'story_{name}_speed'
      speeds += [row for row in _rows(timed) if row['what'] == 'rollout']
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
  return _table(('', *head, 'goal'), rows)


def codec() -> str:
  """What the codec loses, and what is still read through it."""
  found = _read('story_codec')['codec']
  rows = [
    ('PSNR of held-out films', f'{found["psnr"]["mean"]:.1f} dB', '32 dB')
  ]
  for name in ('appearance', 'place', 'size'):
    share = _percent(found[f'read_codec_{name}']['mean'])
    rows.append((f'frames whose {name} is read correctly', share, '97 %'))
  return _table(('', 'codec', 'goal'), rows)


def speed() -> str:
  """A stream of the base, early and late in a long film."""
  row = next(row for row in _rows('story_speed') if row['what'] == 'stream')
  bank = [
    f'{row[name] / 1e6:.1f} MB'
    for name in ('bank_bytes_chunk_3', 'bank_bytes_max_after')
  ]
  chunks = [name for name in row if name.startswith('chunk_ms_')]
  times = [f'{row[name]["median"]:.0f} ms' for name in chunks]
  compiled = [
    str(row[name]) for name in ('compiles_to_chunk_2', 'compiles_from_chunk_3')
  ]
  return _table(
    ('one chunk of 12 frames, base', 'early', 'late'),
    [
      ('time (chunks 11 to 30, 191 to 210)', *times),
      ('bank', *bank),
      ('compilations (to chunk 2, from chunk 3 on)', *compiled),
    ],
  )


def policies() -> str:
  """Recall after a given past, by memory policy and kind of return."""
  rows, known = [], list(_read('story_policies')['policies'])
  for file, films in (('story_policies', ''), ('story_long', '40 chunks: ')):
    found = _read(file)['policies']
    for kind, what in (
      (None, 'all returns'),
      ('opening', 'returns of the opening shot'),
      ('later', 'returns of later shots'),
    ):
      parts = [
        found[policy]['kind'][kind] if kind else found[policy]['all']
        for policy in known
      ]
      count = parts[0]['recall_given']['n']
      cells = [_mean(metrics, 'recall_given') for metrics in parts]
      rows.append((f'{films}{what} ({count})', *cells))
    hits = [_mean(found[policy]['all'], 'route_hit_1') for policy in known]
    rows.append((f'{films}a frame of the character is routed, layer 1', *hits))
  return _table(('', *known), rows)


def minutes() -> str:
  """The first and the last minute of films of ten minutes."""
  drift = _read('story_minutes')['policies']['camr']['drift']
  names = ('place', 'size', 'action', 'unreadable', 'recall', 'saturation')
  return _table(
    ('', 'first minute', 'last minute'),
    [
      (name, *(_mean(drift[part], name) for part in ('first', 'last')))
      for name in names
    ],
  )


def serving() -> str:
  """Sessions of a server at once."""
  return _table(
    ('films at once', 'frames per second on screen, each', 'median', 'worst'),
    [
      (
        str(row['batch']),
        f'{row["screen_fps_min"]:.1f}',
        f'{row["latency_ms"]["median"]:.0f} ms',
        f'{row["latency_ms"]["max"]:.0f} ms',
      )
      for row in _rows('story_serve')
    ],
  )


def h100() -> str:
  """What was measured on one H100."""
  rows = _rows('h100')
  chunks = [row for row in rows if row['what'] == 'rollout']
  (update,) = (row for row in rows if row['what'] == 'train')
  (story,) = (row for row in rows if row['what'] == 'curriculum')
  timed = next(row for row in chunks if 'chunk_ms' in row)
  gib = update['peak_memory_bytes'] / 2**30
  return _table(
    ('one H100, random weights', ''),
    [
      (
        'Wan 2.1 1.3B in four steps, 832x480, a chunk of 12 frames',
        f'{timed["chunk_ms"]["median"]:.0f} ms, '
        f'{timed["pixel_fps"]:.1f} frames per second',
      ),
      *(
        (
          f'the same with the decoder {row["codec"]}',
          f'{row["pixel_fps_codec"]:.1f} frames per second',
        )
        for row in chunks
      ),
      (
        'an update of the 1.3B base, 81 frames, everything recomputed',
        f'{update["step_ms"]["median"] / 1e3:.2f} s, '
        f'{_percent(update["mfu"])} MFU, {gib:.1f} GiB',
      ),
      *(
        (
          f'phase `{phase}` of the story curriculum, {story["copies"]} copies',
          f'{films} films per second',
        )
        for phase, films in story['films_per_sec'].items()
      ),
    ],
  )


def peers() -> str:
  """Processor time of a chunk beside PyTorch's, as launch/peers.py timed it."""

  def milliseconds(times: dict[str, float] | None) -> str:
    return f'{times["median"]:.0f} ms' if times else '–'

  return _table(
    (
      'a chunk of Wan 1.3B, one core',
      'cinejax',
      'PyTorch',
      'compiled',
      'ratio',
    ),
    [
      (
        f'{row["layers"]} layers, {row["tokens"]} tokens that read '
        f'{row["context_tokens"]}, {row["dtype"]}; PyTorch reads the prompt '
        f'once a {row["prompts"]}',
        *(
          milliseconds(row[f'{name}_cpu_ms'])
          for name in ('ours', 'torch', 'torch_compiled')
        ),
        f'{row["cpu_ratio"]:.2f}',
      )
      for row in _rows('peers')
    ],
  )


def precision() -> str:
  """What eight bits change in each layer, by bench --what=precision."""
  (row,) = _rows('precision')
  layers = (0, row['layers'] // 2, row['layers'] - 1)

  def errors(name: str) -> list[str]:
    return [_percent(row[name][layer]) for layer in layers]

  return _table(
    ('random weights', *(f'layer {layer + 1}' for layer in layers)),
    [
      ('error of a layer in fp8', *errors('update_error')),
      ('error of a layer in bfloat16', *errors('bfloat16_update_error')),
      ('hidden states in fp8, of all layers so far', *errors('states_error')),
    ],
  )


def ablations() -> str:
  """The question and the points of every ablation that was run."""
  names = ('place', 'action', 'sca', 'unreadable', 'appearance_bits', 'recall')
  parts = []
  for path in sorted((ROOT / 'benchmarks').glob('ablation_*.json')):
    found = _read(path.stem)
    table = _table(
      ('point', *names),
      [
        (f'`{point}`', *(_mean(figures, name) for name in names))
        for point, figures in found['table'].items()
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
