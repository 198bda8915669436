"""The table of multi-shot metrics has ShotStream's columns."""

from cinejax.evaluation.reports import multi_shot


def _policy(**means):
  return {'all': {name: {'mean': value} for name, value in means.items()}}


def test_measured_and_reported_rows_share_columns():
  found = multi_shot.markdown(
    {
      'camr': _policy(sca=0.5, intra_dinov2=0.25, inter_clip=None),
      'window': _policy(sca=0.75),
    }
  )
  rows = [line for line in found if line.startswith('| ')]
  assert len({line.count('|') for line in rows}) == 1
  assert rows[1] == '| camr | 0.5 | 0.25 | – | – | – | – |'
  assert rows[2].startswith('| window | 0.75 | – |')
  assert any('ShotStream (reported' in line for line in rows)
  notes = '\n'.join(found)
  for column in multi_shot.COLUMNS:
    assert f'`{column.metric}`' in notes


def test_without_learnt_features_there_is_no_table():
  assert multi_shot.markdown({'camr': _policy(sca=0.5)}) == []
