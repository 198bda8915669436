"""Plots of the table of an ablation, drawn without a display."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from cinejax.evaluation.reports import style
from cinejax.evaluation.reports.summary import Metrics, summary


def by_row(
  question: str, table: Mapping[str, Metrics], names: Sequence[str]
) -> Figure:
  """A panel for each metric with a dot for each row, ± one std."""
  page, axes = style.grid(1, len(names), (2.4, 0.8 + 0.25 * len(table)))
  page.suptitle(question, fontsize=10, color=style.INK)
  for panel, name in zip(axes[0], names, strict=True):
    style.title(panel, name)
    for place, (row, cells) in enumerate(table.items()):
      cell = cells.get(name) or summary([])
      if cell['n']:
        whisker = cell['std'] or None
        panel.errorbar(
          cell['mean'], place, xerr=whisker, fmt='o', color=style.colour(row)
        )
    first = panel is axes[0, 0]
    panel.set_yticks(range(len(table)), table if first else [''] * len(table))
    panel.set_ylim(len(table) - 0.5, -0.5)  # the first row is at the top
    panel.locator_params(axis='x', nbins=4)
  return page


def over_metric(
  x_axis: str,
  question: str,
  table: Mapping[str, Metrics],
  names: Sequence[str],
) -> Figure:
  """A panel for each metric, plotted over another one, ± one standard error.

  Rows whose names differ only before their first hyphen, such as E18-oldest and
  E32-oldest, are joined to a line.

  Args:
    x_axis: the metric of the horizontal axis, which is logarithmic.
    question: the title.
    table: the metrics of each row; rows without `x_axis` are left out.
    names: the metrics of the panels.
  """
  panels = [name for name in names if name != x_axis]
  lines: dict[str, list[Metrics]] = {}
  for row, cells in table.items():
    if x_axis in cells:
      lines.setdefault(row.partition('-')[2] or row, []).append(cells)
  page, axes = style.grid(1, len(panels), (3.4, 3.2))
  page.suptitle(question, fontsize=10, color=style.INK)
  looks = style.series(lines)
  for panel, name in zip(axes[0], panels, strict=True):
    style.title(panel, name)
    panel.set_xscale('log')
    panel.set_xlabel(x_axis.replace('_', ' '))
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(EngFormatter())
    panel.xaxis.set_minor_formatter(NullFormatter())
    for line, members in lines.items():
      found = [cells for cells in members if cells.get(name, {}).get('n')]
      panel.errorbar(
        [cells[x_axis]['mean'] for cells in found],
        [cells[name]['mean'] for cells in found],
        [style.error(cells[name]) for cells in found],
        **looks[line],
      )
  marks = [Line2D([], [], label=line, **look) for line, look in looks.items()]
  style.legend(page, (), *marks)
  return page
