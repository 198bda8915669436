"""The base model's loss, with a lambda for a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion.config import DiffusionConfig
from cinejax.objectives.teacher_forcing import make_teacher_forcing_loss
from tests.objectives.batches import CHUNKS, FRAMES, film_batch


def _loss(film_fn, time_per='chunk', drop_text=0.0, **diffusion):
  return make_teacher_forcing_loss(
    film_fn,
    DiffusionConfig(shift=5.0, time_per=time_per, **diffusion),
    frames=FRAMES,
    negative_text_WD=jnp.zeros((5, 6)),
    drop_text=drop_text,
  )


def _oracle(params, clean, noisy, t, text, shots, key):
  """The velocity, solved from what it is given: e = (x - (1 - t) x0) / t."""
  t = t[..., None, None, None]
  return (noisy - (1 - t) * clean) / t - clean, None


def test_the_true_velocity_has_no_loss():
  loss, _ = _loss(_oracle)(None, film_batch(), jax.random.key(1))
  assert float(loss) < 1e-6


def test_padding_has_no_loss():
  def wrong_at_the_end(*args):
    v, _ = _oracle(*args)
    return v.at[:, -1].add(100.0), None

  mask = jnp.ones((2, CHUNKS)).at[:, -1].set(0)
  loss_fn = _loss(wrong_at_the_end)
  assert float(loss_fn(None, film_batch(mask), jax.random.key(1))[0]) < 1e-6
  assert float(loss_fn(None, film_batch(), jax.random.key(1))[0]) > 1


@pytest.mark.parametrize(('time_per', 'distinct'), [('chunk', 4), ('film', 1)])
def test_times_are_shared_as_asked(time_per, distinct):
  seen = []

  def spy(params, clean, noisy, t_BNF, text, shots, key):
    seen.append(np.asarray(t_BNF))
    return clean, None

  _loss(spy, time_per)(None, film_batch(), jax.random.key(1))
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
    loss_fn(None, film_batch(), jax.random.key(seed))
  films = np.concatenate(seen)
  kept = films.reshape(len(films), -1).mean(1)
  assert set(kept.tolist()) == {0.0, 1.0}
  assert 8 < kept.sum() < 32


def _spied(**diffusion):
  """The arguments of the network for one batch: clean, noisy, t."""
  seen = []

  def spy(params, clean, noisy, t, text, shots, key):
    seen.append([np.asarray(x) for x in (clean, noisy, t)])
    return noisy, None

  _loss(spy, **diffusion)(None, film_batch(), jax.random.key(1))
  return seen[0]


def test_copies_have_times_and_noise_of_their_own():
  clean, noisy, t = _spied(copies=3)
  assert noisy.shape[1] == t.shape[1] == 3 * clean.shape[1]
  assert len(set(t[:, :, 0].ravel())) == t[:, :, 0].size
  assert len(set(noisy.ravel())) == noisy.size


def test_the_loss_of_copies_ignores_padding_in_each():
  def wrong_at_the_end(params, clean, noisy, t, *rest):
    v, _ = _oracle(params, jnp.tile(clean, (1, 2, 1, 1, 1, 1)), noisy, t, *rest)
    return v.at[:, CHUNKS - 1 :: CHUNKS].add(100.0), None

  mask = jnp.ones((2, CHUNKS)).at[:, -1].set(0)
  loss_fn = _loss(wrong_at_the_end, copies=2)
  assert float(loss_fn(None, film_batch(mask), jax.random.key(1))[0]) < 1e-6
  assert float(loss_fn(None, film_batch(), jax.random.key(1))[0]) > 1


def test_a_share_of_times_is_pure_noise():
  _, noisy, t = _spied(copies=40, pure_noise=0.5)
  share = (t[:, :, 0] == 1).mean()
  assert 0.35 < share < 0.65
  pure = noisy[:, :, 0, 0, 0, 0][t[:, :, 0] == 1]
  assert abs(pure.std() - 1) < 0.2


def test_history_noise_is_on_the_clean_copy_alone():
  exact, noisy, t = _spied()
  corrupted, same_noisy, same_t = _spied(history_noise=0.4)
  np.testing.assert_array_equal(noisy, same_noisy)
  np.testing.assert_array_equal(t, same_t)
  deviation = (corrupted - exact).reshape(2, -1).std(1)
  assert (deviation > 0).all() and (deviation < 0.45).all()


def test_weighted_errors_count_more():
  def wrong_in_a_corner(*args):
    v, _ = _oracle(*args)
    return v.at[..., 0, 0, :].add(1.0), None

  batch = film_batch()
  weight = jnp.ones((*batch['latents'].shape[:-1], 1))
  loss_fn = _loss(wrong_in_a_corner)
  plain = float(loss_fn(None, batch, jax.random.key(1))[0])
  batch['weight'] = weight
  same = float(loss_fn(None, batch, jax.random.key(1))[0])
  batch['weight'] = weight.at[..., 0, 0, :].set(5.0)
  more = float(loss_fn(None, batch, jax.random.key(1))[0])
  np.testing.assert_allclose(
    [plain, same, more], [1 / 4, 1 / 4, 5 / 8], rtol=1e-4
  )
