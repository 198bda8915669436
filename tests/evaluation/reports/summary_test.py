import json

import pytest

from cinejax.evaluation.metrics import recall
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.evaluation.metrics.recall import RecallPair
from cinejax.evaluation.reports import summary, tables
from cinejax.story import casting, world

SECS = [16.5] * 6
FACTS = {'command': 'python -m x', 'name': 'tiny', 'kind': 'eval', 'films': 6}


def score(place, drawn, expected, appearances=(), series=None):
  pair = RecallPair(drawn, expected)
  right = float(drawn == expected)
  values = {'place': place, 'recall': right}
  return FilmScore(values, {'recall': pair}, appearances, series or {})


def test_a_summary_leaves_out_what_is_undefined():
  found = summary.summary([1.0, None, 3.0])
  assert found == {'mean': 2, 'std': 1, 'n': 2}
  assert summary.summary([None]) == {'mean': None, 'std': None, 'n': 0}


def test_sets_have_chance_and_bits():
  found = summary.metrics([[score(1, 2, 2, (2, 3)), score(None, 5, 2, (-1,))]])
  assert found['recall'] == {'mean': 0.5, 'std': 0.5, 'n': 2}
  assert found['recall_chance'] == {'mean': 0.5, 'std': None, 'n': 2}
  assert found['appearance_bits'] == {'mean': 1, 'std': None, 'n': 2}
  assert found['place']['n'] == 1
  assert 'appearance_bits' not in summary.metrics([[score(1, 2, 2)]])


def test_absences_by_powers_of_two():
  names = [summary.absence(chunks) for chunks in (1, 2, 3, 4, 5, 8, 9, 33)]
  assert names == ['1', '2', '3-4', '3-4', '5-8', '5-8', '9-16', '33-64']


def test_chance_and_bits_are_of_each_seed_alone():
  # each seed draws one appearance of its own: chance is high in both, though
  # pairs of one seed never match those of the other
  one = [score(1, 3, 3, (3,)), score(1, 3, 3, (3,))]
  two = [score(1, 4, 4, (4,)), score(1, 4, 4, (4,))]
  found = summary.metrics([one, two])
  assert found['recall_chance'] == {'mean': 1, 'std': 0, 'n': 4}
  assert found['appearance_bits'] == {'mean': 0, 'std': 0, 'n': 4}


def test_recall_of_hue_shape_and_pattern_alone():
  red, yellow = (
    [world.APPEARANCES.index(appearance) for appearance in own]
    for own in (((0, 0, 0), (0, 2, 0), (0, 0, 1)), ((1, 0, 0), (1, 1, 1)))
  )
  # hues are right but in the last film, shapes in two of four
  pairs = [(red[0], red[1]), (yellow[0], yellow[0]), (red[2], red[0]), (-1, 3)]
  found = summary.metrics([[score(1, *pair) for pair in pairs]])
  recalls = [found[f'recall_{x}']['mean'] for x in ('hue', 'shape', 'pattern')]
  assert recalls == [0.75, 0.5, 0.5]
  assert found['recall']['mean'] == 0.25
  # the yellow one matches no other, the red ones match each other
  assert found['recall_hue_chance']['mean'] == pytest.approx(4 / 12)


def test_spread_is_over_the_means_of_seeds():
  one, two = [[score(p, 1, 1) for p in places] for places in ((0, 1), (1, 1))]
  found = summary.seed_metrics([one, two])
  assert found['place'] == {'mean': 0.75, 'std': 0.25, 'n': 2}
  assert summary.metrics([one, two])['place']['n'] == 4


@pytest.fixture(scope='module')
def films():
  return [casting.cast('eval', 5, index) for index in range(6)]


def events(films):
  return [film.events[0] for film in films]


@pytest.fixture(scope='module')
def whole(films):
  found = [
    score(i / 5, i, i % 2, series={'place': [(0.0, 1.0), (14.0, i / 5)]})
    for i in range(6)
  ]
  return summary.policy_report([found], SECS, events(films))


def test_splits_partition_the_films(films, whole):
  for split in ('kind', 'absent_chunks', 'candidates'):
    counts = [part['place']['n'] for part in whole[split].values()]
    assert sum(counts) == whole['all']['place']['n'] == 6
  opening = [i for i, f in enumerate(films) if f.events[0].kind == 'opening']
  mean = sum(i / 5 for i in opening) / len(opening)
  assert whole['kind']['opening']['place']['mean'] == pytest.approx(mean)
  assert [row['film'] for row in whole['films']] == list(range(6))
  assert 'seeds' not in whole


def test_confusion_counts_expected_by_drawn(whole):
  counts = whole['confusion']['recall']
  assert len(whole['confusion']['appearances']) == len(counts) == 24
  assert {len(row) for row in counts} == {25}
  assert counts[0][0] == counts[1][1] == counts[1][5] == counts[0][4] == 1
  assert sum(map(sum, counts)) == 6
  pairs = [RecallPair(-1, 2), RecallPair(2, -1)]
  table = recall.confusion(pairs, 24)
  assert table[2, 24] == table.sum() == 1


def test_drift_compares_both_ends(whole):
  found = whole['drift']
  assert found['first']['place'] == {'mean': 1, 'std': 0, 'n': 6}
  assert found['last']['place']['mean'] == pytest.approx(0.5)
  spans = found['curve']['place']
  assert [span['n'] for span in spans] == [6, 6]


def test_seeds_of_a_policy(films, whole):
  found = [[score(seed, 1, 1) for _ in films] for seed in (0, 1)]
  section = summary.policy_report(found, SECS, events(films))
  assert section['seeds']['place'] == {'mean': 0.5, 'std': 0.5, 'n': 2}
  assert [row['seed'] for row in section['films']] == [0] * 6 + [1] * 6
  assert 'drift' not in section  # nothing was sampled
  text = tables.markdown(FACTS | {'policies': {'camr': section}})
  assert 'over the means of n seeds' in text
  assert '| place | 0.5 ± 0.5 (2) |' in text


def test_tables_name_every_policy_and_metric(whole):
  text = tables.markdown(
    FACTS
    | {
      'policies': {'camr': whole, 'window': whole},
      'codec': {'psnr': summary.summary([33.3333])},
      'plots': ['recall.png'],
    }
  )
  assert '| metric | camr | window |' in text
  assert '## kind opening' in text and '| psnr | 33.33 ± 0 (1) |' in text
  assert f'| place | {"0.5 ± 0.342 (6) | " * 2}'.strip() in text
  assert f'| place | {"1 -> 0.5 | " * 2}'.strip() in text
  assert '![recall.png](recall.png)' in text
  assert 'kind eval, films 6.\n\n```sh\npython -m x\n```\n' in text
  json.dumps(whole, allow_nan=False)


def test_paper_results_are_a_section_of_their_own(whole):
  text = tables.markdown(FACTS | {'policies': {'camr': whole}})
  ours, theirs = text.split('## Reported elsewhere, not comparable')
  assert '| CAMR | 0.2394 | 0.753 | 0.9745 |' in theirs
  assert 'not comparable with the figures above' in theirs
  assert 'arXiv' not in ours
