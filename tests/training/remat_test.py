"""config.dit.remat=auto: what each policy needs, and which one is chosen."""

import jax
import pytest

from cinejax.config import resolve
from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh
from cinejax.models.remat import POLICIES
from cinejax.training import planned, remat
from configs import tiny, wan_1_3b

NAMES = ('none', *POLICIES)


@pytest.fixture(scope='module')
def cfg():
  config = tiny.get_config()
  config.dit.remat = 'auto'
  config.memory.training = 'full'
  return resolve(config)


@pytest.fixture(scope='module')
def mesh():
  return make_mesh(MeshConfig(1, 1, 1, 1), jax.devices()[:1])


@pytest.fixture(scope='module')
def needs(cfg, mesh):
  found = {}
  for name in NAMES:
    found[name] = remat.needed(
      'base', remat.with_policy(cfg, name), mesh, found
    )
  return found


def _limit(needs, name):
  """The least memory that is enough for a policy."""
  return int(needs[name].total / (1 - remat.SPARE)) + 1


def test_each_policy_needs_less_than_the_one_before(needs):
  totals = [needs[name].total for name in NAMES]
  assert totals == sorted(set(totals), reverse=True)


def test_attention_adds_results_and_log_sum_exps_to_full(cfg, needs):
  tokens = cfg.stage.base.batch * 2 * cfg.data.chunks * 3 * 4 * 4
  # the results of attention to the film and to captions, a sum for each head
  numbers = tokens * (2 * cfg.dit.features + cfg.dit.heads)
  added = needs['attention'].kept - needs['full'].kept
  assert added == cfg.dit.layers * numbers * 4


@pytest.mark.parametrize('name', NAMES)
def test_the_first_that_fits_is_chosen(monkeypatch, cfg, mesh, needs, name):
  monkeypatch.setattr(
    remat, 'needed', lambda stage, cfg, *_: needs[cfg.dit.remat]
  )
  chosen, line = remat.resolve('base', cfg, mesh, _limit(needs, name))
  assert chosen == remat.with_policy(cfg, name)
  assert line.startswith(f'config.dit.remat: {name} (GiB needed: none ')
  assert 'may not fit' not in line


def test_full_is_chosen_if_none_fits(monkeypatch, cfg, mesh, needs):
  monkeypatch.setattr(
    remat, 'needed', lambda stage, cfg, *_: needs[cfg.dit.remat]
  )
  chosen, line = remat.resolve('base', cfg, mesh, _limit(needs, 'full') - 2)
  assert chosen.dit.remat == 'full'
  assert line.startswith('config.dit.remat: full, which may not fit (')


def test_a_policy_that_is_named_stays(cfg, mesh):
  named = remat.with_policy(cfg, 'dots')
  assert remat.resolve('base', named, mesh) == (named, '')
  rollout, line = remat.resolve(planned.ROLLOUT, cfg, mesh)
  assert rollout.dit.remat == 'none' and not line


@pytest.mark.slow
def test_wan_computes_no_attention_again_on_an_h100(mesh):
  """Of 81 frames; of 237 not even `full` fits one."""
  config = wan_1_3b.get_config()
  config.stage.base.batch = config.stage.base.accumulate = 1
  for chunks, policy in ((7, 'attention'), (20, 'full')):
    config.data.chunks = chunks
    chosen, line = remat.resolve(
      'base', resolve(config), mesh, int(71.2 * 2**30)
    )
    assert chosen.dit.remat == policy
    assert ('may not fit' in line) == (chunks == 20)


def test_the_limit_is_the_least_that_is_known(mesh):
  class Device:
    device_kind = 'NVIDIA H100 80GB HBM3'

    def __init__(self, limit):
      self.memory_stats = lambda: limit and {'bytes_limit': limit}

  assert 70 * 2**30 < remat.device_limit(Device(0)) < 72 * 2**30
  assert remat.device_limit(Device(2**30)) == 2**30
  assert remat.memory_limit(mesh) > 2**30
