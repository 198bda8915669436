import json

import pytest

from cinejax.evaluation import report
from cinejax.evaluation.recall import Draw
from cinejax.evaluation.scores import FilmScore
from cinejax.story import casting


def score(place, drawn, wanted, looks=()):
  draw = Draw(drawn, wanted)
  right = float(drawn == wanted)
  return FilmScore({'place': place, 'recall': right}, {'recall': draw}, looks)


def test_a_summary_leaves_out_what_is_undefined():
  found = report.summary([1.0, None, 3.0])
  assert found == {'mean': 2, 'std': 1, 'n': 2}
  assert report.summary([None]) == {'mean': None, 'std': None, 'n': 0}


def test_sets_have_chance_and_bits():
  found = report.metrics([score(1, 2, 2, (2, 3)), score(None, 5, 2, (-1,))])
  assert found['recall'] == {'mean': 0.5, 'std': 0.5, 'n': 2}
  assert found['recall_chance'] == {'mean': 0.5, 'std': None, 'n': 2}
  assert found['look_bits'] == {'mean': 1, 'std': None, 'n': 2}
  assert found['place']['n'] == 1
  assert 'look_bits' not in report.metrics([score(1, 2, 2)])


def test_absences_by_powers_of_two():
  names = [report.absence(chunks) for chunks in (1, 2, 3, 4, 5, 8, 9, 33)]
  assert names == ['1', '2', '3-4', '3-4', '5-8', '5-8', '9-16', '33-64']


@pytest.fixture
def whole():
  films = [casting.cast('eval', 5, index) for index in range(6)]
  found = [score(index / 5, index, index % 2) for index in range(6)]
  return films, report.policy_report(films, found)


def test_splits_part_the_films(whole):
  films, section = whole
  for split in ('kind', 'absent_chunks'):
    counts = [part['place']['n'] for part in section[split].values()]
    assert sum(counts) == section['all']['place']['n'] == 6
  opening = [i for i, f in enumerate(films) if f.events[0].kind == 'opening']
  mean = sum(i / 5 for i in opening) / len(opening)
  assert section['kind']['opening']['place']['mean'] == pytest.approx(mean)
  assert [row['film'] for row in section['films']] == list(range(6))


def test_tables_name_every_policy_and_metric(whole):
  _, section = whole
  facts = {'name': 'tiny', 'kind': 'eval', 'films': 6}
  text = report.markdown(
    facts
    | {
      'policies': {'camr': section, 'window': section},
      'codec': {'psnr': report.summary([33.3333])},
    }
  )
  assert '| metric | camr | window |' in text
  assert '## kind opening' in text and '| psnr | 33.33 ± 0 (1) |' in text
  assert f'| place | {"0.5 ± 0.342 (6) | " * 2}'.strip() in text
  json.dumps(section, allow_nan=False)
