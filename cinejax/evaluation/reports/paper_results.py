"""Results that papers report for large models, shown beside measured ones.

They are not comparable with what is measured here: data, prompts and judging
networks differ, and the models are a thousand times as large.
"""

from typing import NamedTuple

NOTE = (
  'Reported by the papers for large models on their own prompts and judges; '
  'not measured here and not comparable with the figures above.'
)


class PaperResult(NamedTuple):
  """The results of one model; None where the paper gives no number."""

  source: str
  model: str
  text: float | None  # alignment, ViCLIP
  inter_shot: float | None
  sca: float | None


_CAUSALCINE = 'CausalCine, arXiv 2605.12496'

PAPER_RESULTS = (
  PaperResult(_CAUSALCINE, 'no memory', 0.2181, 0.5832, 0.9772),
  PaperResult(_CAUSALCINE, 'first-frame sink', 0.2285, 0.6106, 0.9618),
  PaperResult(_CAUSALCINE, 'CAMR', 0.2394, 0.7530, 0.9745),
  PaperResult(_CAUSALCINE, 'without multi-shot tuning', 0.1921, 0.5034, 0.5042),
  PaperResult(_CAUSALCINE, 'with multi-shot tuning', 0.1980, 0.6529, 0.9732),
  PaperResult(_CAUSALCINE, 'base, 50 steps', 0.2016, 0.662, 0.961),
  PaperResult(_CAUSALCINE, 'student, 4 steps', 0.1980, 0.653, 0.973),
  PaperResult('HoloCine, arXiv 2510.20822', 'HoloCine', 0.1856, 0.7509, 0.9837),
  PaperResult('ShotStream', 'ShotStream', None, None, 0.978),
)


def markdown() -> list[str]:
  """The results as a Markdown table, with a note that they do not compare."""
  lines = [
    '## Reported elsewhere, not comparable',
    '',
    NOTE,
    '',
    '| source | model | text | inter-shot | SCA |',
    '|---|---|---|---|---|',
  ]
  for row in PAPER_RESULTS:
    cells = [row.source, row.model]
    cells += ['–' if value is None else f'{value:.4g}' for value in row[2:]]
    lines.append(f'| {" | ".join(cells)} |')
  return lines
