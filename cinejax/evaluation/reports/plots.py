"""Plots of a report, one PNG each, drawn without a display.

  recall.png       main returns: overall, by kind and by absence; a tick marks
                   chance
  quality.png      all other metrics that are best at 1
  routing.png      how often a layer reads a frame that shows the returning
                   character
  drift.png        metrics along the film
  appearances.png  expected against drawn appearances

Error bars are standard errors, over seeds if there are several and otherwise
over films. A plot without data is not drawn.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cinejax.evaluation.reports import style

Policies = Mapping[str, Mapping[str, Any]]  # sections of a report by policy

_RECALLS = (
  ('recall_given', 'recall after a rendered past'),
  ('recall_swap', 'recall of an appearance swapped in that past'),
  ('recall', 'recall in a generated film'),
)
_QUALITY = ('place', 'size', 'action', 'sca', 'intra', 'inter', 'text')
_DRIFTS = (
  *('place', 'size', 'action', 'recall', 'cut', 'unreadable'),
  *('contrast', 'saturation', 'flicker', 'motion'),
)


def save_plots(policies: Policies, folder: pathlib.Path) -> list[str]:
  """Draws all plots that have data; returns the names of their files."""
  names = []
  for name, draw in _PLOTS.items():
    figure = draw(policies)
    if figure is not None:
      style.save_figure(figure, folder / name)
      names.append(name)
  return names


def recall(policies: Policies) -> Figure | None:
  shown = [
    pair
    for pair in _RECALLS
    if any(pair[0] in section['all'] for section in policies.values())
  ]
  if not shown:
    return None
  figure, axes = style.grid(len(shown), 2, (5.2, 3.3))
  for (name, title), (left, right) in zip(shown, axes, strict=True):
    _bars(left, policies, name)
    style.title(left, title)
    _absences(right, policies, name)
    style.title(right, f'{title}, by absence')
    for ax in (left, right):
      ax.set_ylim(0, 1.08)
  chance = Line2D([], [], color=style.INK, lw=1.6, label='chance')
  style.legend(figure, policies, chance)
  return figure


def quality(policies: Policies) -> Figure | None:
  names = [
    name
    for name in dict.fromkeys(n for s in policies.values() for n in s['all'])
    if name.split('_')[0] in _QUALITY
  ]
  if not names:
    return None
  figure, [[ax]] = style.grid(
    1, 1, (6.6, 0.9 + (0.25 + 0.05 * len(policies)) * len(names))
  )
  for row, name in enumerate(names):
    for offset, policy in _offsets(policies):
      found = _metric(policies[policy], name)
      if found is None:
        continue
      ax.errorbar(
        found['mean'],
        row + 0.7 * offset,
        xerr=style.error(found),
        fmt='o',
        ms=5,
        color=style.colour(policy),
        label=policy,
      )
  ax.set_yticks(range(len(names)), names)
  ax.set_ylim(len(names) - 0.5, -0.5)
  ax.set_xlim(min(0.0, ax.get_xlim()[0]), 1.02)
  style.title(ax, 'what the prompts ask for, and consistency (1 is best)')
  style.legend(figure, policies)
  return figure


def routing(policies: Policies) -> Figure | None:
  lines = {
    policy: _layers(section, 'route_hit')
    for policy, section in policies.items()
  }
  lines = {policy: line for policy, line in lines.items() if line}
  if not lines:
    return None
  figure, [axes] = style.grid(1, 2, (4.6, 3.2))
  titles = {
    'route_hit': 'a frame of the character is read',
    'route_share': 'share of read frames that show it',
  }
  for ax, (kind, title) in zip(axes, titles.items(), strict=True):
    for policy in lines:
      layers, means, errors = zip(*_layers(policies[policy], kind), strict=True)
      ax.errorbar(
        layers, means, errors, fmt='o-', ms=4, color=style.colour(policy)
      )
    style.title(ax, title)
    ax.set_xlabel('layer')
    ax.set_xticks(layers)
    ax.set_ylim(0, 1.02)
  style.legend(figure, lines)
  return figure


def drift(policies: Policies) -> Figure | None:
  found = {p: s['drift']['curve'] for p, s in policies.items() if 'drift' in s}
  known = {name for curves in found.values() for name in curves}
  names = [name for name in _DRIFTS if name in known]
  if not names:
    return None
  figure, axes = style.grid(-(-len(names) // 5), min(5, len(names)), (2.5, 2.1))
  for ax, name in zip(axes.flat, names, strict=False):
    for policy, curves in found.items():
      spans = curves.get(name, [])
      secs = np.array([span['secs'] for span in spans])
      means = np.array([span['mean'] for span in spans])
      errors = np.array([style.error(span) for span in spans])
      colour = style.colour(policy)
      ax.plot(secs, means, 'o-', ms=3, color=colour)
      ax.fill_between(
        secs, means - errors, means + errors, color=colour, alpha=0.13, lw=0
      )
    style.title(ax, name)
    low, high = ax.get_ylim()
    if name in ('place', 'size', 'action', 'recall', 'cut', 'unreadable'):
      ax.set_ylim(0, 1.04)
    else:  # the axis starts at 0, so that a steady line looks steady
      ax.set_ylim(min(0, low), 1.15 * high)
  for ax in axes.flat[len(names) :]:
    ax.set_axis_off()
  for ax in axes[-1]:
    ax.set_xlabel('seconds of film')
  style.legend(figure, found)
  return figure


def appearances(policies: Policies) -> Figure | None:
  name = next(
    (
      name
      for name, _ in _RECALLS
      if any(name in section['confusion'] for section in policies.values())
    ),
    None,
  )
  if name is None:
    return None
  shown = [p for p, s in policies.items() if name in s['confusion']]
  columns = min(4, len(shown))
  figure, axes = style.grid(-(-len(shown) // columns), columns, (3.4, 3.5))
  for ax, policy in zip(axes.flat, shown, strict=False):
    table = policies[policy]['confusion']
    counts = np.asarray(table[name])
    most = max(1, counts.max())
    ax.imshow(counts, cmap=_HEAT, vmin=0, vmax=most, aspect='auto')
    ax.plot([0, len(counts) - 1], [0, len(counts) - 1], color=style.DIM, lw=0.4)
    words = [*table['appearances'], 'unreadable']
    ax.set_xticks(range(len(words)), words, rotation=90, fontsize=5)
    ax.set_yticks(range(len(words) - 1), words[:-1], fontsize=5)
    style.title(ax, f'{policy}: {int(np.trace(counts))} of {int(counts.sum())}')
    ax.set_xlabel(f'drawn ({name})')
    ax.grid(visible=False)
    ax.set_ylabel('expected')
  for ax in axes.flat[len(shown) :]:
    ax.set_axis_off()
  for ax in axes.flat:
    ax.label_outer()  # labels only at the left and at the bottom
  return figure


_PLOTS: dict[str, Callable[[Policies], Figure | None]] = {
  'recall.png': recall,
  'quality.png': quality,
  'routing.png': routing,
  'drift.png': drift,
  'appearances.png': appearances,
}
_HEAT = LinearSegmentedColormap.from_list(
  'heat', ['#f6f7f9', '#f0b9a8', '#d1495b', '#5c1a2b']
)


def _bars(ax: Axes, policies: Policies, name: str) -> None:
  """Draws recall overall and by kind, with a tick at chance."""
  kinds = {kind for section in policies.values() for kind in section['kind']}
  groups = ['all', *sorted(kinds, reverse=True)]
  width = 0.8 / len(policies)
  for x, group in enumerate(groups):
    for offset, policy in _offsets(policies):
      section = policies[policy]
      source = section if group == 'all' else section['kind'].get(group, {})
      found = _metric(source, name) if group == 'all' else source.get(name)
      if not found or found['mean'] is None:
        continue
      at = x + 0.8 * offset
      mean, error = found['mean'], style.error(found)
      ax.bar(at, mean, 0.9 * width, color=style.colour(policy))
      ax.errorbar(at, mean, error, color=style.INK, lw=0.8)
      ax.annotate(
        f'{100 * mean:.0f}',
        (at, mean + error),
        (0, 2),
        textcoords='offset points',
        ha='center',
        fontsize=6.5,
        color=style.DIM,
      )
      chance_name = f'{name}_chance'
      chance = (
        _metric(source, chance_name)
        if group == 'all'
        else source.get(chance_name)
      )
      if chance and chance['mean'] is not None:
        ax.hlines(
          chance['mean'], at - width / 2, at + width / 2, style.INK, lw=1.6
        )
  ax.set_xticks(range(len(groups)), groups)


def _absences(ax: Axes, policies: Policies, name: str) -> None:
  classes = _absence_classes(policies)
  for policy, section in policies.items():
    points = []
    for x, group in enumerate(classes):
      found = section['absent_chunks'].get(group, {}).get(name)
      if found and found['mean'] is not None:
        points.append((x, found['mean'], style.error(found)))
    if points:
      at, means, errors = zip(*points, strict=True)
      ax.errorbar(at, means, errors, fmt='o-', ms=4, color=style.colour(policy))
  ax.set_xticks(range(len(classes)), classes)
  ax.set_xlim(-0.5, len(classes) - 0.5)
  ax.set_xlabel('chunks of absence')


def _absence_classes(policies: Policies) -> list[str]:
  """The classes of absences, such as '2' and '3-4', in ascending order."""
  names = {n for s in policies.values() for n in s['absent_chunks']}
  return sorted(names, key=lambda name: int(name.split('-')[0]))


def _layers(section: Mapping[str, Any], kind: str) -> list[tuple]:
  """(layer, mean, standard error) of each layer that routes."""
  return [
    (int(name.rpartition('_')[2]), found['mean'], style.error(found))
    for name in section['all']
    if name.startswith(f'{kind}_')
    for found in [_metric(section, name)]
    if found is not None
  ]


def _metric(section: Mapping[str, Any], name: str) -> dict[str, Any] | None:
  """A metric over seeds if there are several, otherwise over films."""
  found = section.get('seeds', section['all']).get(name)
  return found if found and found['mean'] is not None else None


def _offsets(policies: Policies) -> Iterator[tuple[float, str]]:
  """Each policy and its offset from the centre of a group, in (-0.5, 0.5)."""
  for index, policy in enumerate(policies):
    yield (index + 0.5) / len(policies) - 0.5, policy
