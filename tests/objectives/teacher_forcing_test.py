"""The base model's loss, with a lambda for a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion.config import DiffusionConfig
from cinejax.objectives.teacher_forcing import make_teacher_forcing_loss

FRAMES, CHUNKS = 3, 4


def _batch(mask=None):
  shape = (2, CHUNKS * FRAMES, 2, 2, 4)
  return {
    'latents': jax.random.normal(jax.random.key(0), shape),
    'text': jnp.ones((2, CHUNKS, 5, 6)),
    'mask': jnp.ones((2, CHUNKS)) if mask is None else mask,
    'shots': jnp.zeros((2, CHUNKS), jnp.int32),
  }


def _loss(film_fn, time_per='chunk', drop_text=0.0):
  return make_teacher_forcing_loss(
    film_fn,
    DiffusionConfig(shift=5.0, time_per=time_per),
    frames=FRAMES,
    negative_text_WD=jnp.zeros((5, 6)),
    drop_text=drop_text,
  )


def _oracle(params, clean, noisy, t, text, shots, key):
  """The velocity, solved from what it is given: e = (x - (1 - t) x0) / t."""
  t = t[..., None, None, None]
  return (noisy - (1 - t) * clean) / t - clean, None


def test_the_true_velocity_has_no_loss():
  loss, _ = _loss(_oracle)(None, _batch(), jax.random.key(1))
  assert float(loss) < 1e-6


def test_padding_has_no_loss():
  def wrong_at_the_end(*args):
    v, _ = _oracle(*args)
    return v.at[:, -1].add(100.0), None

  mask = jnp.ones((2, CHUNKS)).at[:, -1].set(0)
  loss_fn = _loss(wrong_at_the_end)
  assert float(loss_fn(None, _batch(mask), jax.random.key(1))[0]) < 1e-6
  assert float(loss_fn(None, _batch(), jax.random.key(1))[0]) > 1


@pytest.mark.parametrize(('time_per', 'distinct'), [('chunk', 4), ('film', 1)])
def test_times_are_shared_as_asked(time_per, distinct):
  seen = []

  def spy(params, clean, noisy, t_BNF, text, shots, key):
    seen.append(np.asarray(t_BNF))
    return clean, None

  _loss(spy, time_per)(None, _batch(), jax.random.key(1))
  t_BNF = seen[0]
  assert (t_BNF == t_BNF[:, :, :1]).all()
  assert [len(set(film)) for film in t_BNF[:, :, 0]] == [distinct] * 2


def test_dropped_films_read_the_negative_prompt_throughout():
  seen = []

  def spy(params, clean, noisy, t_BNF, text, shots, key):
    seen.append(np.asarray(text))
    return clean, None

  loss_fn = _loss(spy, drop_text=0.5)
  for seed in range(20):
    loss_fn(None, _batch(), jax.random.key(seed))
  films = np.concatenate(seen)
  kept = films.reshape(len(films), -1).mean(1)
  assert set(kept.tolist()) == {0.0, 1.0}
  assert 8 < kept.sum() < 32
