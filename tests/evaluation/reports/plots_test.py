"""Plots show the metrics of their sections."""

import numpy as np
import pytest
from PIL import Image

from cinejax.evaluation.metrics.film import FilmScore
from cinejax.evaluation.metrics.recall import RecallPair
from cinejax.evaluation.reports import plots, style, summary
from cinejax.story import casting


def section(right, seeds=1, routed=True):
  """A policy that recalls the first `right` of six films."""
  films = [casting.cast('eval', 5, index) for index in range(6)]
  own = []
  for i in range(6):
    pair = RecallPair(i, i if i < right else i + 1)
    values = {'recall_given': float(i < right), 'place': i / 5, 'sca': 0.9}
    if routed:
      values |= {'route_hit_0': 0.25, 'route_share_0': 0.125}
      values |= {'route_hit_1': 0.5, 'route_share_1': 0.25}
    series = {'place': [(0.0, 1.0), (14.0, i / 5)]}
    own.append(FilmScore(values, {'recall_given': pair}, (i,), series))
  events = [film.events[0] for film in films]
  return summary.policy_report([own] * seeds, [16.5] * 6, events)


@pytest.fixture(scope='module')
def policies():
  return {'camr': section(4), 'window': section(1, routed=False)}


def heights(ax):
  return [patch.get_height() for patch in ax.patches]


def test_bars_are_recall_overall_and_by_kind(policies):
  figure = plots.recall(policies)
  bars, absence = figure.axes  # no recall of generated films: one row
  groups = [label.get_text() for label in bars.get_xticklabels()]
  assert groups == ['all', 'opening', 'later']
  want = [
    part['recall_given']['mean']
    for pick in (
      lambda s: s['all'],
      lambda s: s['kind']['opening'],
      lambda s: s['kind']['later'],
    )
    for part in map(pick, policies.values())
  ]
  assert heights(bars) == pytest.approx(want)
  assert want[:2] == pytest.approx([4 / 6, 1 / 6])
  classes = [label.get_text() for label in absence.get_xticklabels()]
  assert set(classes) == set(policies['camr']['absent_chunks'])
  legend = [text.get_text() for text in figure.legends[0].get_texts()]
  assert legend == ['camr', 'window', 'chance']


def test_layers_are_those_that_route(policies):
  figure = plots.routing(policies)
  hit, share = (ax.lines[0].get_xydata().tolist() for ax in figure.axes)
  assert hit == [[0, 0.25], [1, 0.5]] and share == [[0, 0.125], [1, 0.25]]
  legend = [text.get_text() for text in figure.legends[0].get_texts()]
  assert legend == ['camr']
  assert plots.routing({'window': policies['window']}) is None


def test_curves_follow_the_film(policies):
  [ax] = plots.drift(policies).axes
  assert ax.get_title(loc='left') == 'place'
  spans = policies['camr']['drift']['curve']['place']
  want = [[span['secs'], span['mean']] for span in spans]
  assert ax.lines[0].get_xydata() == pytest.approx(np.array(want))


def test_appearances_are_counted(policies):
  first, second = plots.appearances(policies).axes
  assert first.get_title(loc='left') == 'camr: 4 of 6'
  assert second.get_title(loc='left') == 'window: 1 of 6'
  shown = np.asarray(first.images[0].get_array())
  np.testing.assert_array_equal(
    shown, policies['camr']['confusion']['recall_given']
  )


def test_error_bars_are_over_seeds_if_there_are_several():
  assert style.error({'mean': 1, 'std': 0.3, 'n': 10}) == pytest.approx(0.1)
  assert style.error({'mean': 1, 'std': None, 'n': 10}) == 0
  assert style.error({'mean': 1, 'std': 0.0, 'n': 1}) == 0
  several = {'camr': section(4, seeds=3)}
  [ax] = plots.quality(several).axes
  whiskers = [len(c.get_segments()) for c in ax.collections]
  spread = [np.ptp(c.get_segments()[0][:, 0]) for c in ax.collections]
  assert whiskers == [1, 1] and spread == [0, 0]  # all seeds alike


def test_only_plots_with_data_are_written(policies, tmp_path):
  names = plots.save_plots(policies, tmp_path)
  assert names == [
    'recall.png', 'quality.png', 'routing.png', 'drift.png', 'appearances.png'
  ]  # fmt: skip
  assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
  for name in names:
    with Image.open(tmp_path / name) as image:
      image.load()
      assert min(image.size) > 150
    assert (tmp_path / name).stat().st_size < 200_000
  codec_only = {}
  assert plots.save_plots(codec_only, tmp_path) == []
