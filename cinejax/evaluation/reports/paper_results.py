"""What papers report of large models, to be read beside our figures.

None of it can be compared with what is measured here: other data, other
prompts, other networks that judge, and models a thousand times as large.
"""

from typing import NamedTuple

NOTE = (
  'Reported by the papers for large models on their own prompts and judges; '
  'not measured here and not comparable with the figures above.'
)


class Reported(NamedTuple):
  """One row; None where the paper has no figure."""

  source: str
  model: str
  text: float | None  # alignment, ViCLIP
  inter_shot: float | None
  sca: float | None


_CAUSALCINE = 'CausalCine, arXiv 2605.12496'

REPORTED = (
  Reported(_CAUSALCINE, 'no memory', 0.2181, 0.5832, 0.9772),
  Reported(_CAUSALCINE, 'first-frame sink', 0.2285, 0.6106, 0.9618),
  Reported(_CAUSALCINE, 'CAMR', 0.2394, 0.7530, 0.9745),
  Reported(_CAUSALCINE, 'without multi-shot tuning', 0.1921, 0.5034, 0.5042),
  Reported(_CAUSALCINE, 'with multi-shot tuning', 0.1980, 0.6529, 0.9732),
  Reported(_CAUSALCINE, 'base, 50 steps', 0.2016, 0.662, 0.961),
  Reported(_CAUSALCINE, 'student, 4 steps', 0.1980, 0.653, 0.973),
  Reported('HoloCine, arXiv 2510.20822', 'HoloCine', 0.1856, 0.7509, 0.9837),
  Reported('ShotStream', 'ShotStream', None, None, 0.978),
)


def markdown() -> list[str]:
  """A table, with its warning."""
  lines = [
    '## Reported elsewhere, not comparable',
    '',
    NOTE,
    '',
    '| source | model | text | inter-shot | SCA |',
    '|---|---|---|---|---|',
  ]
  for row in REPORTED:
    cells = [row.source, row.model]
    cells += ['–' if value is None else f'{value:.4g}' for value in row[2:]]
    lines.append(f'| {" | ".join(cells)} |')
  return lines
