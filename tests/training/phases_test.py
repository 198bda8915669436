"""A curriculum: the config of each phase, and its own learning rates."""

import numpy as np
import pytest

import configs
from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.training import phases
from cinejax.training.optim import make_schedule
from configs import tiny


def _cfg(*rows):
  config = tiny.get_config()
  config.stage.base.phases = rows
  config.stage.base.warmup_steps = 0
  return resolve(config)


def test_a_stage_without_phases_is_one():
  cfg = _cfg()
  (only,) = phases.split(cfg, 'base')
  assert only == ('', cfg, 0)


def test_each_phase_has_its_values():
  first, second = phases.split(
    _cfg(
      configs.phase('short', 5, {'data.chunks': 3, 'stage.batch': 4}),
      configs.phase('long', 7, {'diffusion.copies': 2}),
    ),
    'base',
  )
  assert (first.name, first.first, first.cfg.stage.base.steps) == (
    'short',
    0,
    5,
  )
  assert (first.cfg.data.chunks, first.cfg.stage.base.batch) == (3, 4)
  assert (second.first, second.cfg.stage.base.steps) == (5, 12)
  plain = _cfg()
  assert second.cfg.diffusion.copies == 2
  assert second.cfg.data == plain.data
  assert second.cfg.stage.dmd == plain.stage.dmd


def test_updates_of_phases_can_be_set_separately():
  """A phase without updates is left out."""
  config = tiny.get_config()
  config.stage.base.phases = (
    configs.phase('a', 5, {}),
    configs.phase('b', 5, {'data.chunks': 3}),
    configs.phase('c', 5, {}),
  )
  config.stage.base.phase_steps = (0, 2, 3)
  cfg = resolve(config)
  found = phases.split(cfg, 'base')
  assert [(phase.name, phase.first) for phase in found] == [('b', 0), ('c', 2)]
  assert make_schedule(cfg.stage.base)(4) > 0
  config.stage.base.phase_steps = (1, 2)
  with pytest.raises(UserError, match='each of the 3 phases'):
    resolve(config)


def test_each_phase_starts_its_own_schedule():
  cfg = _cfg(
    configs.phase(
      'a', 10, {'stage.learning_rate': 1e-2, 'stage.final_share': 0.0}
    ),
    configs.phase(
      'b', 10, {'stage.learning_rate': 4e-3, 'stage.schedule': 'constant'}
    ),
  )
  schedule = make_schedule(cfg.stage.base)
  rates = [float(schedule(step)) for step in range(20)]
  np.testing.assert_allclose(rates[0], 1e-2, rtol=1e-6)
  assert rates[9] < 1e-3 and all(np.diff(rates[:10]) < 0)
  np.testing.assert_allclose(rates[10:], 4e-3, rtol=1e-6)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'data.chunk': 3}, r'data\.chunk .*did you mean'),
    ({'stage.rate': 3}, r'stage\.base\.rate'),
    ({'memory.training': 'dense'}, 'must be one of'),
  ],
)
def test_an_impossible_change_is_an_error(changes, sentence):
  with pytest.raises(UserError, match=sentence):
    phases.split(_cfg(configs.phase('a', 1, changes)), 'base')


def test_the_optimizer_of_a_phase_has_the_rates_of_the_stage():
  """Its state, which counts updates, goes from one phase to the next."""
  cfg = _cfg(
    configs.phase('a', 2, {'stage.learning_rate': 1e-2}),
    configs.phase('b', 2, {}),
  )
  whole = make_schedule(cfg.stage.base)
  for phase in phases.split(cfg, 'base'):
    settings = phase.cfg.stage.base
    own = make_schedule(settings)
    for step in range(phase.first, settings.steps):
      assert float(own(step)) == float(whole(step))
