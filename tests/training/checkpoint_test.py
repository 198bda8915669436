import shutil
import subprocess

import jax
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.training.checkpoint import Checkpoints
from cinejax.training.steps import place


def train(toy, state, updates):
  batches = toy.batches(int(state.films_consumed))
  step_fn = toy.step_fn()
  with jax.set_mesh(toy.mesh):
    for _ in range(updates):
      batch = place(next(batches), toy.batch_sharding)
      state, _ = step_fn(state, batch)
  return state


def assert_same(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def test_a_restored_state_continues_bit_for_bit(make_toy, tmp_path):
  toy = make_toy()
  whole = train(toy, toy.fresh(), 4)
  half = train(toy, toy.fresh(), 2)
  with Checkpoints(tmp_path, 2, {'name': 'toy'}) as checkpoints:
    checkpoints.save(2, half)
  with Checkpoints(tmp_path, 2, {'name': 'toy'}) as checkpoints:
    restored = checkpoints.restore(toy.abstract)
  assert restored.films_consumed == 16
  assert_same(train(toy, restored, 2), whole)


def test_a_save_holds_the_state_at_its_time(make_toy, tmp_path):
  toy = make_toy()
  state = train(toy, toy.fresh(), 1)
  expected = jax.tree.map(np.array, state)
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    checkpoints.save(1, state)
    train(toy, state, 20)  # donates the buffers while the save runs
    checkpoints.wait()
    assert_same(checkpoints.restore(toy.abstract), expected)


def test_restore_onto_another_mesh(make_toy, tmp_path):
  one, many = make_toy(), make_toy(devices=8, fsdp=4, tensor=2)
  state = train(one, one.fresh(), 1)
  expected = jax.tree.map(np.array, state)
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    checkpoints.save(1, state)
    checkpoints.wait()
    restored = checkpoints.restore(many.abstract)
  assert_same(restored, expected)
  assert not restored.params['mlp_in']['kernel'].sharding.is_fully_replicated


def test_the_newest_stay_with_their_config(make_toy, tmp_path):
  toy = make_toy()
  state = toy.fresh()
  with Checkpoints(tmp_path, 2, {'stages': ('codec',)}) as checkpoints:
    assert checkpoints.latest_step is None
    assert checkpoints.restore(toy.abstract) is None
    for step in (1, 2, 3):
      checkpoints.save(step, state)
    checkpoints.wait()
    assert checkpoints.latest_step == 3
  assert sorted(p.name for p in tmp_path.iterdir()) == ['2', '3']
  assert (
    '"stages": ["codec"]'
    in (tmp_path / '3' / 'config' / 'metadata').read_text()
  )


def test_a_checkpoint_of_another_model_is_an_error(make_toy, tmp_path):
  toy = make_toy()
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    checkpoints.save(1, toy.fresh())
    checkpoints.wait()
    wider = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        (*x.shape, 2), x.dtype, sharding=x.sharding
      ),
      toy.abstract,
    )
    with pytest.raises(UserError, match='does not fit this config'):
      checkpoints.restore(wider)


def test_the_best_stay_besides_the_newest(make_toy, tmp_path):
  state = make_toy().fresh()
  with Checkpoints(tmp_path, 1, {}, best=1) as checkpoints:
    for step, loss in enumerate((3.0, 1.0, float('inf'), 2.0), 1):
      checkpoints.save(step, state, loss)
    checkpoints.wait()
  assert sorted(p.name for p in tmp_path.iterdir()) == ['2', '4']


def largest(folder):
  files = [path for path in folder.rglob('*') if path.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def cut(folder):
  path = largest(folder)
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
  'cut': cut,
  'file': lambda folder: largest(folder).unlink(),
  'manifest': lambda folder: (folder / 'state/manifest.ocdbt').write_bytes(b''),
  'names': lambda folder: (folder / 'state/_METADATA').write_text('{"tree'),
  'folder': lambda folder: shutil.rmtree(folder / 'state'),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
  make_toy, tmp_path, capfd, damage
):
  toy = make_toy()
  one = train(toy, toy.fresh(), 1)
  expected = jax.tree.map(np.array, one)
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    checkpoints.save(1, one)
    checkpoints.wait()
    checkpoints.save(2, train(toy, one, 1))
  DAMAGES[damage](tmp_path / '2')
  capfd.readouterr()
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    restored = checkpoints.restore(toy.abstract)
    assert_same(restored, expected)
    assert checkpoints.latest_step == 1
    checkpoints.save(2, train(toy, restored, 1))  # the step is free again
  error = capfd.readouterr().err
  assert 'checkpoint 2' in error and 'damaged-2' in error
  assert 'Traceback' not in error
  names = sorted(path.name for path in tmp_path.iterdir())
  assert names == ['1', '2', 'damaged-2']


def test_damaged_checkpoints_alone_are_an_error(make_toy, tmp_path):
  toy = make_toy()
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    checkpoints.save(1, toy.fresh())
  cut(tmp_path / '1')
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    with pytest.raises(UserError, match=r'all checkpoints in .* are damaged'):
      checkpoints.restore(toy.abstract)


def test_a_full_disk_leaves_the_last_checkpoint(small_disk, capfd):
  state = {'x': jax.random.normal(jax.random.key(0), (300, 1024))}  # 1.2 MB
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )
  with pytest.raises(UserError, match='disk is full; checkpoint 1 is good'):
    with Checkpoints(small_disk / 'base', 9, {}) as checkpoints:
      for step in range(1, 4):
        checkpoints.save(step, state)
  assert 'Traceback' not in capfd.readouterr().err
  with Checkpoints(small_disk / 'base', 9, {}) as checkpoints:
    assert_same(checkpoints.restore(abstract), state)
    assert checkpoints.latest_step == 1


def test_a_disk_that_becomes_read_only(small_disk):
  state = {'x': jax.numpy.zeros(9)}
  line = ['mount', '-o', 'remount,ro', str(small_disk)]
  with pytest.raises(UserError, match='read-only; checkpoint 1 is good'):
    with Checkpoints(small_disk / 'base', 9, {}) as checkpoints:
      checkpoints.save(1, state)
      checkpoints.wait()
      subprocess.run(line, check=True)
      checkpoints.save(2, state)
  assert [path.name for path in (small_disk / 'base').iterdir()] == ['1']


def test_a_folder_that_vanishes(tmp_path):
  folder = tmp_path / 'run' / 'base'
  with pytest.raises(UserError, match='vanished; nothing is saved'):
    with Checkpoints(folder, 9, {}) as checkpoints:
      checkpoints.save(1, {'x': jax.numpy.zeros(9)})
      checkpoints.wait()
      shutil.rmtree(folder.parent)
      folder.parent.touch()
      checkpoints.save(2, {'x': jax.numpy.zeros(9)})


@pytest.mark.parametrize(
  'error', [MemoryError, jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED')]
)
def test_a_device_without_memory_damages_nothing(
  make_toy, tmp_path, monkeypatch, error
):
  toy = make_toy()
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    checkpoints.save(1, toy.fresh())
    checkpoints.wait()

    def fail(*_, **__):
      raise error

    monkeypatch.setattr(checkpoints._manager, 'restore', fail)
    with pytest.raises((MemoryError, jax.errors.JaxRuntimeError)):
      checkpoints.restore(toy.abstract)
    assert [path.name for path in tmp_path.iterdir()] == ['1']
