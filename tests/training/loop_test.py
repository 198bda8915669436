import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.training import loop
from cinejax.training.checkpoint import Checkpoints
from cinejax.training.metrics import MetricWriter
from cinejax.training.progress import ProgressDisplay
from cinejax.training.stop import Stopped


def train(toy, folder, steps=4, batches=None, loss=None, **kwargs):
  with (
    jax.set_mesh(toy.mesh),
    Checkpoints(folder / 'checkpoints', 2, {}) as checkpoints,
    ProgressDisplay('base', 0, steps, show=True) as display,
  ):
    state = checkpoints.restore(toy.abstract)
    state = toy.fresh() if state is None else state
    with MetricWriter(folder, 'base', int(state.step)) as writer:
      return loop.train(
        toy.step_fn(loss),
        state,
        (batches or toy.batches)(int(state.films_consumed)),
        name='base',
        steps=steps,
        cfg=toy.cfg.train,
        batch_sharding=toy.batch_sharding,
        checkpoints=checkpoints,
        writer=writer,
        display=display,
        **kwargs,
      )


def rows(folder):
  lines = (folder / 'metrics' / 'base.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def saved_steps(folder):
  return sorted(int(p.name) for p in (folder / 'checkpoints').iterdir())


def test_trains_logs_and_saves(make_toy, tmp_path, capsys):
  state = train(make_toy(), tmp_path)
  assert state.step == 4
  assert [row['step'] for row in rows(tmp_path)] == [1, 2, 3, 4]
  assert rows(tmp_path)[-1]['secs_left'] == 0
  assert saved_steps(tmp_path) == [2, 4]
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 4 and lines[-1].startswith('base 4/4: loss ')
  # A finished run does nothing.
  assert train(make_toy(), tmp_path).step == 4
  assert len(rows(tmp_path)) == 4


def test_a_row_covers_all_updates_since_the_last(make_toy, tmp_path):
  train(make_toy(), tmp_path / 'each')
  toy = make_toy()
  every = dataclasses.replace(toy.cfg.train, log_every_steps=3)
  toy = dataclasses.replace(toy, cfg=dataclasses.replace(toy.cfg, train=every))
  train(toy, tmp_path / 'some')
  each, (three, last) = rows(tmp_path / 'each'), rows(tmp_path / 'some')
  assert (three['step'], last['step']) == (3, 4)
  assert (three['films_consumed'], last['films_consumed']) == (24, 32)
  assert last['loss'] == each[3]['loss']
  for name in ('loss', 'grad_norm', 'worst'):
    mean = np.mean([row[name] for row in each[:3]])
    np.testing.assert_allclose(three[name], mean)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_next_run_continues(make_toy, tmp_path, number):
  toy = make_toy()
  whole = train(toy, tmp_path / 'whole', steps=5)

  def interrupted(consumed):
    for i, batch in enumerate(toy.batches(consumed)):
      if i == 2:
        os.kill(os.getpid(), number)
      yield batch

  usual = signal.getsignal(number)
  with pytest.raises(Stopped, match='base stopped at step 3 of 5'):
    train(toy, tmp_path / 'part', steps=5, batches=interrupted)
  assert signal.getsignal(number) == usual
  assert saved_steps(tmp_path / 'part') == [2, 3]
  state = train(toy, tmp_path / 'part', steps=5)
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(whole), strict=True):
    np.testing.assert_array_equal(a, b)


def test_nan_stops_the_run_before_a_save_and_names_the_batch(
  make_toy, tmp_path
):
  toy = make_toy()

  def poisoned(consumed):
    for i, batch in enumerate(toy.batches(consumed)):
      yield {'x': batch['x'] * (np.nan if i == 3 else 1)}

  with pytest.raises(UserError, match=r'nan.* step 4, films_consumed 32'):
    train(toy, tmp_path, batches=poisoned)
  assert saved_steps(tmp_path) == [2]


def test_a_gradient_that_is_nan_stops_the_run(make_toy, tmp_path):
  def loss_fn(params, batch, key, given):
    return jnp.sqrt(jnp.sum(params['mlp_in']['bias'] ** 2)), {}

  with pytest.raises(UserError, match='gradient norm nan'):
    train(make_toy(), tmp_path, loss=loss_fn)


def test_samples_are_made_at_their_steps(make_toy, tmp_path):
  seen = []
  train(make_toy(), tmp_path, sample_fn=lambda state, step: seen.append(step))
  assert seen == [3]


def test_bad_updates_are_skipped_until_there_are_too_many(
  make_toy, tmp_path, caplog
):
  toy = make_toy()
  stage = dataclasses.replace(toy.settings, on_spike='skip')
  stages = dataclasses.replace(toy.cfg.stage, base=stage)
  toy = dataclasses.replace(toy, cfg=dataclasses.replace(toy.cfg, stage=stages))

  def poisoned(bad):
    def batches(consumed):
      for i, batch in enumerate(toy.batches(consumed)):
        yield {'x': batch['x'] * (np.nan if i in bad else 1)}

    return batches

  state = train(toy, tmp_path / 'few', batches=poisoned({1}), skips=True)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
  assert 'films_consumed 16' in caplog.text and 'skipped' in caplog.text
  with pytest.raises(UserError, match='step 10, films_consumed 80'):
    train(
      toy,
      tmp_path / 'all',
      steps=20,
      batches=poisoned(range(20)),
      skips=True,
    )
