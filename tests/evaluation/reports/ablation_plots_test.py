"""Plots of tables of ablations."""

from cinejax.evaluation.reports import ablation_plots


def cell(mean):
  return {'mean': mean, 'std': 0.5, 'n': 8}


def test_points_are_plotted_over_a_metric():
  def row(size, recall):
    return {'bytes': cell(size), 'recall': cell(recall), 'sca': cell(0.9)}

  table = {
    'E18-oldest': row(18.0, 0.1),
    'E18-merge': row(18.0, 0.8),
    'E32-oldest': row(32.0, 0.3),
    'E120': row(120.0, 0.9),
    'unmeasured': {'sca': cell(0.5)},
  }
  names = ('bytes', 'recall', 'sca')
  figure = ablation_plots.over_metric('bytes', 'How small?', table, names)
  recall, sca = figure.axes
  assert [ax.get_title(loc='left') for ax in (recall, sca)] == ['recall', 'sca']
  drawn = [
    tuple(map(tuple, line[0].get_xydata())) for line in recall.containers
  ]
  assert drawn == [
    ((18.0, 0.1), (32.0, 0.3)),
    ((18.0, 0.8),),
    ((120.0, 0.9),),
  ]
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ['oldest', 'merge', 'E120']
