import json
import sys
import types

import numpy as np
import pytest

from cinejax import evaluate
from cinejax.core.errors import UserError
from cinejax.evaluation import saved_films, suite
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.evaluation.metrics.recall import RecallPair
from cinejax.evaluation.reports import summary
from tests.evaluation.cases import make_cfg
from tests.networks import save_networks

METRICS = (
  'place size action sca nsd false_cuts flicker motion recall recall_chance '
  'transition_deviation intra_pixels inter_pixels inter_same_pixels '
  'recall_given recall_given_chance recall_swap appearance_bits unreadable '
  'pixel_fps route_hit_0 route_hit_1 route_share_0 route_share_1'
)


@pytest.fixture
def command(tmp_path, monkeypatch, give_flags):
  """Runs evaluate's main with these flags; its folder is tmp_path/out."""

  def run(cfg, **changes):
    given = {
      'weights': str(tmp_path / 'weights'),
      'out': str(tmp_path / 'out'),
    }
    give_flags(evaluate, **(given | changes))
    monkeypatch.setattr(evaluate.command, 'config', lambda: cfg)
    evaluate.main()

  return run


@pytest.fixture
def weights(tmp_path):
  save_networks(make_cfg(), tmp_path / 'weights')
  return tmp_path / 'weights'


@pytest.mark.slow
@pytest.mark.parametrize(
  ('policies', 'seeds'), [(['camr'], 1), (['camr', 'window'], 2)]
)
def test_every_metric_of_every_policy(
  weights, command, tmp_path, capsys, policies, seeds
):
  command(make_cfg(), films=3, policies=policies, seeds=seeds)
  out = tmp_path / 'out'
  found = json.loads((out / 'report.json').read_text())
  assert (found['films'], found['kind'], found['steps']) == (3, 'eval', 1)
  assert list(found['policies']) == policies
  for policy in policies:
    section = found['policies'][policy]
    assert set(METRICS.split()) <= set(section['all'])
    for values in section['all'].values():
      assert set(values) == {'mean', 'std', 'n'}
    assert (
      section['all']['place']['n'] == section['all']['recall']['n'] == 3 * seeds
    )
    if seeds > 1:
      assert section['seeds']['place']['n'] == seeds
    assert set(section['kind']) == {'opening', 'later'}
    assert section['kind']['later']['recall_given']['n'] == 2 * seeds
    assert {'contrast', 'flicker'} <= set(section['drift']['curve'])
    sheets = sorted(path.name for path in (out / policy).glob('*.png'))
    assert sheets == ['best.png', 'median.png', 'worst.png']
    films = sorted(path.name for path in (out / policy / 'films').iterdir())
    assert films == ['000.mp4', '001.mp4', '002.mp4']
    rows = section['films']
    assert [row['seed'] for row in rows] == [0, 0, 0, 1, 1, 1][: 3 * seeds]
    flicker = [row['flicker'] for row in rows]
    assert len(set(flicker)) == 3 * seeds  # each seed is another film
  if 'window' in policies:
    window = found['policies']['window']['all']
    assert window['route_hit_0'] == summary.summary([None])
  assert found['policies']['camr']['all']['route_hit_0']['n'] == 3 * seeds
  assert 'recall.png' in found['plots']
  for name in found['plots']:
    assert (out / name).stat().st_size > 1000
  text = (out / 'report.md').read_text()
  assert f'| metric | {" | ".join(policies)} |' in text
  assert text in capsys.readouterr().out


@pytest.mark.slow
def test_a_character_is_recalled_from_a_picture(weights, command, tmp_path):
  """Films of both kinds: the shot of an opening event is the first one."""
  command(make_cfg(), films=3, policies=['camr', 'window'], metrics=['cast'])
  found = json.loads((tmp_path / 'out' / 'report.json').read_text())
  camr, window = (found['policies'][name]['all'] for name in ('camr', 'window'))
  for metrics in (camr, window):
    assert metrics['recall_cast']['n'] == 3
    assert metrics['unreadable_cast']['mean'] > 0  # random weights
  # the picture is all that can be routed in the first chunk of a film
  opening = found['policies']['camr']['kind']['opening']
  assert opening['cast_share_0']['mean'] == opening['cast_hit_1']['mean'] == 1
  assert window['cast_hit_0']['n'] == 0


@pytest.mark.slow
def test_the_codec_needs_no_base(weights, command, tmp_path):
  (weights / 'base.safetensors').unlink()
  command(make_cfg(), films=1, metrics=['codec'])
  found = json.loads((tmp_path / 'out' / 'report.json').read_text())
  assert found['policies'] == {}
  assert found['codec']['read_clean']['mean'] >= 0.97
  assert found['codec']['read_codec']['mean'] < 0.5  # random weights
  assert found['codec']['psnr']['mean'] < 20


@pytest.fixture
def batches(monkeypatch):
  """The batches scored, without any work; `stop_at` interrupts a run."""
  asked = []

  def score_batch(self, part, numbers, seed=0, folder=None):
    if len(asked) == score_batch.stop_at:
      raise KeyboardInterrupt
    policy = self.director.cfg.memory.policy
    asked.append((policy, part, seed, *numbers))
    for n in numbers if folder else ():
      frames = np.zeros((21, 64, 128, 3), np.uint8)
      saved_films.write(saved_films.film_path(folder, n), frames, fps=8)
    return {
      n: FilmScore(
        {f'recall_{part}': 1.0}, {f'recall_{part}': RecallPair(n, n)}
      )
      for n in numbers
    }

  score_batch.stop_at = None
  monkeypatch.setattr(suite.BenchmarkCase, 'score_batch', score_batch)
  return types.SimpleNamespace(asked=asked, fn=score_batch)


def test_an_interrupted_run_continues_and_a_longer_one_adds(
  weights, command, batches, tmp_path, capsys
):
  given = {'films': 3, 'seeds': 2, 'metrics': ['given', 'swap']}
  batches.fn.stop_at = 3
  with pytest.raises(SystemExit) as stopped:
    command(make_cfg(), **given)
  assert stopped.value.code == 130
  assert 'the same command continues' in capsys.readouterr().err
  batches.fn.stop_at = None
  command(make_cfg(), **given)
  scored = [
    (*key, n) for *key, first in map(_split, batches.asked) for n in first
  ]
  assert len(scored) == len(set(scored)) == 2 * 2 * 3  # none twice
  batches.asked.clear()
  command(make_cfg(), **given)
  assert batches.asked == []
  command(make_cfg(**{'eval.batch': 4}), **(given | {'films': 4}))
  assert batches.asked == [
    ('camr', part, seed, 3) for seed in (0, 1) for part in ('given', 'swap')
  ]
  batches.asked.clear()
  command(make_cfg(), **(given | {'policies': ['camr', 'window']}))
  assert {asked[0] for asked in batches.asked} == {'window'}
  found = json.loads((tmp_path / 'out' / 'report.json').read_text())
  assert set(found['policies']) == {'camr', 'window'}
  assert found['policies']['camr']['all']['recall_given']['n'] == 6


def _split(asked):
  policy, part, seed, *numbers = asked
  return policy, part, seed, numbers


def test_screenplays_of_any_size(weights, command, batches, tmp_path):
  path = tmp_path / 'films.jsonl'
  film = '{"segments": [{"prompt": "a cat", "chunks": 2}]}\n'
  path.write_text(film * 3)
  cfg = make_cfg(**{'film.width': 128})
  command(cfg, screenplay=str(path), films=2)
  assert batches.asked == [('camr', 'generated', 0, 0, 1)]
  command(cfg, screenplay=str(path))
  assert batches.asked[1:] == [('camr', 'generated', 0, 2)]
  found = json.loads((tmp_path / 'out' / 'report.json').read_text())
  section = found['policies']['camr']
  assert section['kind'] == section['absent_chunks'] == {}
  assert [row['film'] for row in section['films']] == [0, 1, 2]
  with pytest.raises(UserError, match='--metrics names given; it takes some'):
    command(cfg, screenplay=str(path), metrics=['given'])
  path.write_text(film.replace('2', '2, "policy": "x"'))
  with pytest.raises(UserError, match=r'line 1: shot 0, segments.0..policy: '):
    command(cfg, screenplay=str(path))
  path.write_text(film.replace('cat', 'dog'))
  with pytest.raises(UserError, match='screenplay was'):
    command(cfg, screenplay=str(path))


@pytest.mark.slow
def test_questions_are_asked_about_generated_films(weights, command, tmp_path):
  ask = {'question': 'Is it here?', 'answer': 'yes', 'dimension': 'Presence'}
  case = {'prompt': 'Ada runs left in the forest, wide shot', 'qa': [ask]}
  path, script = tmp_path / 'cases.json', tmp_path / 'ask.py'
  path.write_text(json.dumps([case, case | {'qa': []}]))
  script.write_text(
    'import os, sys\n'
    "print('Yes.' if os.path.getsize(sys.argv[1]) > 1000 else 'No.')\n"
  )
  given = {
    'questions': str(path),
    'answer_command': f'{sys.executable} {script}',
  }
  command(make_cfg(), **given, seeds=2)
  found = json.loads((tmp_path / 'out' / 'report.json').read_text())
  for name in ('right', 'right_presence'):
    metric = found['policies']['camr']['all'][name]
    assert (metric['mean'], metric['n']) == (1.0, 2)
  path.write_text(json.dumps([case]))
  with pytest.raises(UserError, match=r'(screenplay|questions) was'):
    command(make_cfg(), **given)


def test_scores_of_another_network_or_config_are_not_mixed(
  weights, command, batches
):
  given = {'films': 1, 'metrics': ['given']}
  command(make_cfg(), **given)
  with pytest.raises(UserError, match=r'rollout\.steps was 1, is 2'):
    command(make_cfg(**{'rollout.steps': 2}), **given)
  save_networks(make_cfg(), weights, seed=7)
  with pytest.raises(UserError, match=r'network was .* another --out'):
    command(make_cfg(), **given)


@pytest.mark.parametrize(
  ('changes', 'given', 'sentence'),
  [
    ({}, {'policies': ['camera']}, '--policies names camera; it takes some'),
    ({}, {'metrics': ['recall']}, '--metrics names recall; it takes some of'),
    ({}, {'metrics': []}, '--metrics is empty'),
    ({}, {}, 'there is no .*base.safetensors'),
    ({}, {'metrics': ['codec']}, 'there is no weights file .*codec'),
    (
      {'film.width': 128},
      {},
      'story films are 64x64; give others by --screenplay',
    ),
    ({}, {'out': __file__}, 'evaluate_test.py is a file'),
    ({}, {'questions': 'a', 'screenplay': 'b'}, 'and only one of them'),
    ({}, {'questions': 'a'}, '--questions and --answer_command need each'),
    ({'eval.cuts': 'x'}, {}, 'config.eval.cuts is x; it must be content'),
    ({'eval.features': ('x',)}, {}, 'config.eval.features has x; each must'),
  ],
)
def test_mistakes_are_found_before_anything_is_written(
  command, tmp_path, changes, given, sentence
):
  with pytest.raises(UserError, match=sentence):
    command(make_cfg(**changes), **given)
  assert not (tmp_path / 'out').exists()
