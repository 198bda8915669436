import json

import jax.numpy as jnp
import pytest

from cinejax.core.errors import UserError
from cinejax.core.files import write_json
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.evaluation.metrics.recall import RecallPair
from cinejax.evaluation.score_store import ScoreStore, digest

SETTINGS = {'config': {'rollout': {'steps': 4}, 'patch': (1, 2)}, 'codec': 'x'}
SCORE = FilmScore(
  {'place': 0.5, 'recall': None},
  {'recall': RecallPair(3, -1)},
  (3, -1, 4),
  {'place': [(0.0, 1.0), (1.5, 0.0)]},
)


def test_scores_come_back_as_they_were(tmp_path):
  store = ScoreStore(tmp_path, SETTINGS)
  assert store.scores('camr.given.0') == {}
  store.add('camr.given.0', {7: SCORE})
  store.add('camr.given.0', {2: SCORE, 11: FilmScore({}, {})})
  again = ScoreStore(tmp_path, SETTINGS).scores('camr.given.0')
  assert again == {2: SCORE, 7: SCORE, 11: FilmScore({}, {})}
  assert isinstance(again[2].recall_pairs['recall'], RecallPair)
  assert ScoreStore(tmp_path, SETTINGS).scores('camr.given.1') == {}


def test_a_failed_write_keeps_what_was_there(tmp_path):
  store = ScoreStore(tmp_path, SETTINGS)
  store.add('a', {0: SCORE})
  with pytest.raises(ValueError, match='JSON compliant'):
    store.add('a', {1: FilmScore({'place': float('nan')}, {})})
  assert store.scores('a') == {0: SCORE}
  files = sorted(path.name for path in tmp_path.rglob('*.*'))
  assert files == ['a.json', 'settings.json']


def test_scores_of_other_settings_are_refused(tmp_path):
  ScoreStore(tmp_path, SETTINGS).add('a', {0: SCORE})
  other = {'config': {'rollout': {'steps': 2}, 'patch': (1, 2)}, 'codec': 'x'}
  with pytest.raises(
    UserError, match=r'config\.rollout\.steps was 4, is 2.*another --out'
  ):
    ScoreStore(tmp_path, other)
  more = SETTINGS | {'network': 'y'}
  with pytest.raises(UserError, match='network was None, is y'):
    ScoreStore(tmp_path, more)


@pytest.mark.parametrize(
  'text', ['{"0"', '[]', '{"0": {"values": {}}}', '{"x": {}}', '{"0": 3}']
)
def test_broken_files_are_named(tmp_path, text):
  store = ScoreStore(tmp_path, SETTINGS)
  store.add('a', {0: SCORE})
  (tmp_path / 'scores' / 'a.json').write_text(text)
  with pytest.raises(UserError, match=r'a\.json .*remove it'):
    store.scores('a')


def test_settings_are_plain_json(tmp_path):
  ScoreStore(tmp_path, SETTINGS)
  text = (tmp_path / 'settings.json').read_text()
  assert json.loads(text)['config']['patch'] == [1, 2]


def test_networks_that_differ_have_different_digests():
  params = {'a': {'kernel': jnp.arange(6.0).reshape(2, 3)}, 'b': jnp.zeros(())}
  same = {'b': jnp.zeros(()), 'a': {'kernel': jnp.arange(6.0).reshape(2, 3)}}
  assert digest(params) == digest(same)
  for other in (
    {'a': {'kernel': jnp.arange(6.0).reshape(3, 2)}, 'b': jnp.zeros(())},
    {'a': {'kernel': params['a']['kernel'].at[1, 2].add(1e-6)}, 'b': same['b']},
    {'a': {'weight': params['a']['kernel']}, 'b': jnp.zeros(())},
    params | {'b': jnp.zeros((), jnp.bfloat16)},
  ):
    assert digest(other) != digest(params)
  assert digest(None) == digest({})


def test_scores_of_cinejax_0_1_are_read(tmp_path):
  store = ScoreStore(tmp_path, SETTINGS)
  old = {
    'values': {'place': 0.5, 'read_codec_look': 1.0},
    'draws': {'recall': [3, -1]},
    'looks': [3, 4],
    'series': {'place': [[0.0, 1.0]]},
  }
  write_json(tmp_path / 'scores' / 'a.json', {'7': old})
  assert store.scores('a')[7] == FilmScore(
    {'place': 0.5, 'read_codec_appearance': 1.0},
    {'recall': RecallPair(3, -1)},
    (3, 4),
    {'place': [(0.0, 1.0)]},
  )
