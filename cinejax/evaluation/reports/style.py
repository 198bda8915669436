"""The style of all plots: colours of policies, axes, titles, legends.

Figures are made without a display and without matplotlib's global state.
"""

import itertools
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cinejax.core.files import atomic_path

INK, DIM, GRID = '#1d2530', '#6b7480', '#e4e7eb'
_COLOURS = {  # distinguishable with colour-blindness
  'camr': '#d1495b',
  'window': '#30638e',
  'sink': '#00a0a8',
  'shot_sink': '#7fb069',
  'uniform': '#e6a43b',
  'random': '#8d96a3',
  'rag': '#8c5a2b',
  'full': '#5b4b8a',
}
_DPI = 110


def save_figure(figure: Figure, path: pathlib.Path) -> None:
  """Writes a PNG atomically."""
  with atomic_path(path) as partial:
    figure.savefig(partial, dpi=_DPI, facecolor='white')


def colour(policy: str) -> str:
  """The colour of a memory policy; grey for any other name."""
  return _COLOURS.get(policy, DIM)


def series(names: Iterable[str]) -> dict[str, dict[str, Any]]:
  """How lines of names that are not policies are drawn; nine look different.

  Marks are open, so that those which lie upon each other are seen.
  """
  looks = zip([*_COLOURS.values(), INK], 'os^Dv<>ph', strict=True)
  return {
    name: {'color': own, 'marker': shape, 'mfc': 'none', 'ms': 6, 'lw': 1.2}
    for name, (own, shape) in zip(names, itertools.cycle(looks), strict=False)
  }


def error(found: Mapping[str, Any]) -> float:
  """The standard error of {mean, std, n}, where std is that of the n values."""
  return (found['std'] or 0.0) / math.sqrt(max(1, found['n'] - 1))


def grid(
  rows: int, columns: int, size: tuple[float, float]
) -> tuple[Figure, np.ndarray]:
  """Axes [rows, columns] of `size` inches each."""
  figure = Figure(
    (columns * size[0], rows * size[1] + 0.35), layout='constrained'
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  for ax in axes.flat:
    ax.grid(color=GRID, lw=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(colors=DIM, labelsize=8, length=0)
    for side in ax.spines.values():
      side.set_visible(False)
    for label in (ax.xaxis.label, ax.yaxis.label):
      label.set(fontsize=8, color=DIM)
  return figure, axes


def title(ax: Axes, text: str) -> None:
  """Sets a panel's title, aligned to the left."""
  ax.set_title(text, loc='left', fontsize=9.5, color=INK)


def legend(figure: Figure, names: Iterable[str], *more: Line2D) -> None:
  """Draws a legend of policies, and of other marks, below all panels."""
  marks = [
    Line2D([], [], marker='o', ms=6, lw=0, color=colour(name), label=name)
    for name in names
  ]
  marks += more
  figure.legend(
    handles=marks,
    loc='outside lower center',
    ncols=max(1, len(marks)),
    frameon=False,
    fontsize=8.5,
    labelcolor=INK,
  )
