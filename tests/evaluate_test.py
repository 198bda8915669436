import json
import types

import jax
import pytest
from absl import flags

from cinejax import evaluate
from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.evaluation import report
from cinejax.interop.tensors import save_tree
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from configs import tiny

METRICS = (
  'place size action sca nsd false_cuts flicker recall recall_chance '
  'recall_given recall_given_chance recall_swap look_bits unreadable '
  'pixel_fps route_hit_0 route_hit_1 route_share_0 route_share_1'
)


def make_cfg(**changes):
  config = tiny.get_config()
  config.eval.batch = 2
  config.rollout.steps = 1
  config.rollout.commit = 'fused'
  config.update_from_flattened_dict(changes)
  return resolve(config)


@pytest.fixture
def command(tmp_path, monkeypatch):
  """Runs evaluate's main with these flags; its folder is tmp_path/out."""

  def run(cfg, **changes):
    given = {
      'weights': str(tmp_path / 'weights'),
      'out': str(tmp_path / 'out'),
      'films': None,
      'policies': None,
      'metrics': ['given', 'swap', 'generated'],
    }
    args = types.SimpleNamespace(**(given | changes))
    monkeypatch.setattr(flags, 'FLAGS', args)
    monkeypatch.setattr(evaluate.command, 'config', lambda: cfg)
    evaluate.main()

  return run


@pytest.fixture
def weights(tmp_path):
  cfg, path = make_cfg(), tmp_path / 'weights'
  params = jax.jit(denoiser.init_params, static_argnums=0)(
    cfg.dit, jax.random.key(0)
  )
  save_tree(path / 'base.safetensors', params, {})
  codec = jax.jit(make_codec(cfg.codec).init)(jax.random.key(1))
  save_tree(path / 'codec.safetensors', codec, {})
  return path


@pytest.mark.parametrize(
  'policies',
  [['camr'], pytest.param(['camr', 'window'], marks=pytest.mark.slow)],
)
def test_every_metric_of_every_policy(
  weights, command, tmp_path, capsys, policies
):
  command(make_cfg(), films=3, policies=policies)
  out = tmp_path / 'out'
  found = json.loads((out / 'report.json').read_text())
  assert (found['films'], found['kind'], found['steps']) == (3, 'eval', 1)
  assert list(found['policies']) == policies
  for policy in policies:
    section = found['policies'][policy]
    assert set(METRICS.split()) <= set(section['all'])
    for values in section['all'].values():
      assert set(values) == {'mean', 'std', 'n'}
    assert section['all']['place']['n'] == section['all']['recall']['n'] == 3
    assert set(section['kind']) == {'opening', 'later'}
    assert section['kind']['later']['recall_given']['n'] == 2
    sheets = sorted(path.name for path in (out / policy).iterdir())
    assert sheets == ['best.png', 'median.png', 'worst.png']
  if 'window' in policies:
    window = found['policies']['window']['all']
    assert window['route_hit_0'] == report.summary([None])
  assert found['policies']['camr']['all']['route_hit_0']['n'] == 3
  text = (out / 'report.md').read_text()
  assert f'| metric | {" | ".join(policies)} |' in text
  assert text in capsys.readouterr().out


def test_the_codec_needs_no_base(weights, command, tmp_path):
  (weights / 'base.safetensors').unlink()
  command(make_cfg(), films=1, metrics=['codec'])
  found = json.loads((tmp_path / 'out' / 'report.json').read_text())
  assert found['policies'] == {}
  assert found['codec']['read_clean']['mean'] >= 0.97
  assert found['codec']['read_codec']['mean'] < 0.5  # random weights
  assert found['codec']['psnr']['mean'] < 20


@pytest.mark.parametrize(
  ('changes', 'given', 'sentence'),
  [
    ({}, {'policies': ['camera']}, '--policies names camera; it takes some'),
    ({}, {'metrics': ['recall']}, '--metrics names recall; it takes some of'),
    ({}, {'metrics': []}, '--metrics is empty'),
    ({}, {}, 'there is no .*base.safetensors'),
    ({}, {'metrics': ['codec']}, 'there is no weights file .*codec'),
    ({'film.width': 128}, {}, 'evaluate measures story films, 64x64'),
    ({}, {'out': __file__}, 'evaluate_test.py is a file'),
  ],
)
def test_mistakes_are_found_before_anything_is_made(
  command, tmp_path, changes, given, sentence
):
  with pytest.raises(UserError, match=sentence):
    command(make_cfg(**changes), **given)
  assert not (tmp_path / 'out').exists()
