"""The stages `dmd` and `tune`: two networks and a head, stopped and resumed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.data.sources import LatentFilm
from cinejax.interop.adapters import with_adapter
from cinejax.interop.mapped import read
from cinejax.interop.tensors import load_tree, save_tree
from cinejax.interop.texts import load_text
from cinejax.models import denoiser
from cinejax.training import distillation, stages, trainer
from cinejax.training import films as film_data
from cinejax.training.config import LoraConfig
from configs import story, tiny
from tests.networks import with_random_head


def _films(channels, count=8, chunks=4):
  rng = np.random.default_rng(0)
  return [
    LatentFilm(
      latents=rng.normal(size=(3 * chunks, 2, 2, channels)).astype('float16'),
      prompts=('Ada runs', 'Cut to: Ben runs', 'Ben runs', 'Cut to: Ada runs'),
      cuts=np.array([False, True, False, True]),
      shots=np.array([0, 1, 1, 2], np.int32),
      film=number,
    )
    for number in range(count)
  ]


@pytest.fixture(scope='module')
def networks():
  """The parameters of every network that a stage starts from."""
  dit, trees = resolve(tiny.get_config()).dit, {}
  for seed, name in enumerate(('base', 'init', 'dmd')):
    params = denoiser.init_params(dit, jax.random.key(seed))
    trees[name] = with_random_head(params, 1.0)
  return trees


@pytest.fixture
def setup(networks, tmp_path, monkeypatch):
  """cfg, a folder with every network, and films in place of a data set."""
  config = tiny.get_config()
  config.data.update({'films': 'made up', 'chunks': 4})
  config.film.height = config.film.width = 16
  config.dmd.update(
    {
      'every': 2,
      'fake_learning_rate': 1e-3,
      'window': 3,
      'gan_weight': 0.1,
      'gan_layers': (0, 1),
    }
  )
  for name in ('dmd', 'tune'):
    stage = {'steps': 4, 'batch': 2, 'learning_rate': 1e-3}
    config.stage[name].update(stage)
  config.train.update({'save_every_steps': 2, 'weights_dtype': 'float32'})
  cfg = resolve(config)
  films = _films(cfg.codec.channels)
  monkeypatch.setattr(film_data, 'LatentFilms', lambda path: films)
  for name, params in networks.items():
    save_tree(tmp_path / f'{name}.safetensors', params, {})
  return cfg, tmp_path


def test_a_bank_has_no_more_slots_than_a_film_fills():
  def slots(**data):
    config = tiny.get_config()  # a window of 6, 2 routed, chunks of 3
    config.data.update(data)
    return distillation._film_memory(resolve(config)).bank_frames

  assert [slots(chunks=n) for n in (2, 3, 4, 5, 6)] == [11, 11, 12, 15, 16]


def test_a_student_has_1_2_or_4_steps():
  cfg = resolve(story.get_config())
  with pytest.raises(UserError, match=r'rollout\.steps is 24; a student is'):
    distillation.DMD.describe(cfg, load_text(cfg.text))


@pytest.mark.parametrize(
  'name', ['dmd', pytest.param('tune', marks=pytest.mark.slow)]
)
def test_every_network_has_a_gradient(setup, name):
  cfg, folder = setup
  built = stages.find(name).build(cfg, folder)
  shapes = jax.eval_shape(built.init_fn, jax.random.key(0))
  given = {'real': shapes['student'], 'step': jax.ShapeDtypeStruct((), 'int32')}
  batch = next(built.batches_fn(0))
  grads, metrics = jax.eval_shape(
    jax.grad(built.loss_fn, has_aux=True),
    shapes,
    batch,
    jax.random.key(0),
    given,
  )
  assert jax.tree.structure(grads) == jax.tree.structure(shapes)
  assert set(metrics) == {'loss', 'student', 'fake', 'head'}


@pytest.mark.parametrize('scores', ['causal', 'bidirectional'])
def test_a_score_is_evaluated_as_it_was_trained(setup, scores, monkeypatch):
  """Its times, and the features that the adversary reads, are its own."""
  cfg, folder = setup
  cfg = dataclasses.replace(
    cfg, dmd=dataclasses.replace(cfg.dmd, scores=scores)
  )
  used = {}
  monkeypatch.setattr(
    distillation,
    'make_dmd_loss',
    lambda student, fake, real, diffusion, **others: used.update(
      diffusion=diffusion, **others
    ),
  )
  distillation.DMD.describe(cfg, load_text(cfg.text))
  causal = scores == 'causal'
  assert used['diffusion'].time_per == ('chunk' if causal else 'film')
  assert used['diffusion'].shift == cfg.diffusion.shift
  params, _ = load_tree(folder / 'base.safetensors')
  shape = (2, 1, 2, 3, 2, 2, cfg.codec.channels)
  clean, x = jax.random.normal(jax.random.key(2), shape)
  text = jnp.zeros((1, 2, cfg.text.rows, cfg.text.features))
  values_fn = jax.jit(used['adversary'].values_fn)

  def values(x):  # [L, B, N, T, D]
    shots, key = jnp.zeros((1, 2), jnp.int32), jax.random.key(3)
    return values_fn(
      params, clean, x, jnp.full((1, 2, 3), 0.5), text, shots, key
    )

  before, after = values(x), values(x.at[:, 1].add(1.0))
  assert before.shape == (2, 1, 2, 3, cfg.dit.features)
  # Whether the features of the first chunk depend on the second chunk.
  same = jnp.array_equal(before[1, :, 0], after[1, :, 0])
  assert same == causal
  assert not jnp.array_equal(before[1, :, 1], after[1, :, 1])


def test_turns_go_by_the_training_step(setup):
  cfg, folder = setup
  built = stages.find('dmd').build(cfg, folder)
  optimizer = built.optimizer_fn(cfg.stage.dmd)
  params = {name: {'kernel': jnp.ones((2, 2))} for name in ('student', 'fake')}
  state = optimizer.init(params)
  moved = []
  for step in (0, 1, 3, 4):  # update 2 was skipped: the optimizer saw none
    updates, state = optimizer.update(params, state, params, step=step)
    assert float(updates['fake']['kernel'].max()) < 0
    moved.append(float(updates['student']['kernel'].max()))
  assert [x < 0 for x in moved] == [True, False, False, True]
  assert moved[1] == moved[2] == 0


@pytest.mark.slow
@pytest.mark.parametrize('name', ['dmd', 'tune'])
def test_it_resumes_bit_for_bit(setup, name):
  cfg, folder = setup
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  stage = stages.find(name)
  path, aside = folder / stage.file_name, folder / 'whole.safetensors'
  path.unlink(missing_ok=True)
  trainer.run_stage(stage, cfg, folder, mesh)
  path.rename(aside)
  saved = folder / 'checkpoints' / name
  (saved / '4').rename(folder / '4')
  trainer.run_stage(stage, cfg, folder, mesh)
  (whole, _), (again, _) = load_tree(aside), load_tree(path)
  jax.tree.map(np.testing.assert_array_equal, whole, again)


@pytest.mark.slow
def test_adapters_of_student_and_fake_score_are_trained(setup):
  """What is written is the start with the LoRA file that lies beside it."""
  cfg, folder = setup
  lora = LoraConfig(rank=2, alpha=4.0, targets='blocks/.*')
  settings = dataclasses.replace(cfg.stage.dmd, lora=lora)
  cfg = dataclasses.replace(
    cfg, stage=dataclasses.replace(cfg.stage, dmd=settings)
  )
  (folder / 'dmd.safetensors').unlink()
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  trainer.run_stage(stages.find('dmd'), cfg, folder, mesh)
  start, written = (
    tree_lib.paths(load_tree(folder / f'{name}.safetensors')[0])
    for name in ('init', 'dmd')
  )
  merged = with_adapter(start, folder / 'dmd_lora.safetensors')
  name = 'blocks/mlp_in/kernel'
  assert np.abs(written[name] - start[name]).max() > 1e-4
  for name, x in written.items():
    np.testing.assert_allclose(read(merged[name]), x, rtol=1e-5, atol=1e-6)
