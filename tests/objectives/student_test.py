"""Both methods of initialisation, with formulas in place of networks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion import timesteps
from cinejax.objectives import guidance
from cinejax.objectives.causal_ode import (
  make_causal_ode_loss,
  make_integrate,
  trajectory,
)
from cinejax.objectives.consistency import make_consistency_loss
from tests.objectives.batches import CHUNKS, FRAMES, film_batch

NEGATIVE = jnp.zeros((5, 6))


def _to_clean(params, clean, x, t, text, shots, key, ranks=None):
  """A flow with straight paths that end at `clean` + params."""
  t = t[..., None, None, None]
  return jnp.where(
    t > 0, (x - clean - params) / jnp.maximum(t, 1e-6), 0.0
  ), None


def _consistency(film_fn, weight=1.0, last_pair=True, grid=48, per_chunk=True):
  return make_consistency_loss(
    film_fn,
    frames=FRAMES,
    shift=5.0,
    grid=grid,
    per_chunk=per_chunk,
    last_pair=last_pair,
    guidance=weight,
    negative_text_WD=NEGATIVE,
  )


def _integrate(film_fn, causal=True):
  return make_integrate(
    film_fn,
    frames=FRAMES,
    shift=5.0,
    grid=8,
    guidance=1.0,
    negative_text_WD=NEGATIVE,
    causal=causal,
  )


def _ode(film_fn, causal=True):
  integrate = _integrate(film_fn, causal)
  return make_causal_ode_loss(film_fn, integrate, frames=FRAMES, shift=5.0)


@pytest.mark.parametrize('make', [_consistency, _ode])
def test_a_student_that_ends_where_its_teacher_does_has_no_loss(make):
  loss_fn, zero = make(_to_clean), jnp.zeros(())
  given = {'teacher': zero, 'ema': zero}
  for seed in range(5):
    key = jax.random.key(seed)
    assert float(loss_fn(zero, film_batch(), key, given)[0]) < 1e-8
    assert float(loss_fn(jnp.ones(()), film_batch(), key, given)[0]) > 0.1


@pytest.mark.parametrize('make', [_consistency, _ode])
def test_gradients_reach_the_student_alone(make):
  def loss_of(student, given):
    return make(_to_clean)(student, film_batch(), jax.random.key(0), given)[0]

  given = {'teacher': jnp.full((), 0.3), 'ema': jnp.full((), 0.2)}
  student, others = jax.grad(loss_of, (0, 1))(jnp.full((), 0.9), given)
  assert student != 0 and not any(jax.tree.leaves(others))


@pytest.mark.parametrize('make', [_consistency, _ode])
def test_padding_has_no_loss(make):
  def wrong_at_the_end(params, *args):
    v, _ = _to_clean(jnp.zeros(()), *args)
    return v.at[:, -1].add(100.0 * params), None

  mask = jnp.ones((2, CHUNKS)).at[:, -1].set(0)
  given = {'teacher': jnp.zeros(()), 'ema': jnp.zeros(())}
  args = (jnp.ones(()), film_batch(mask), jax.random.key(1), given)
  assert float(make(wrong_at_the_end)(*args)[0]) < 1e-8
  args = (jnp.ones(()), film_batch(), jax.random.key(1), given)
  assert float(make(wrong_at_the_end)(*args)[0]) > 1.0


def test_the_target_is_one_guided_step_away():
  """The loss equals that of the steps of the paper, written out."""
  seen = []

  def film_fn(params, clean, x, t, text, shots, key, ranks=None):
    seen.append((params, x, t))
    caption = text.mean((2, 3))[:, :, None, None, None, None]
    return params * x + caption + t[..., None, None, None], None

  given = {'teacher': 0.5, 'ema': 0.25}
  loss, _ = _consistency(film_fn, weight=3.0)(
    2.0, film_batch(), jax.random.key(4), given
  )
  (x, t), (x_next, t_next) = (
    next((x, t) for params, x, t in seen if params == wanted)
    for wanted in (0.5, 0.25)
  )
  assert t.dtype == jnp.float32
  grid = timesteps.euler_grid(48, 5.0)
  at = np.argmin(np.abs(grid - np.asarray(t)[..., None]), -1)
  u, u_next = (grid[i][..., None, None, None] for i in (at, at + 1))
  np.testing.assert_array_equal(t_next, grid[at + 1])
  v = 0.5 * x + u
  v += 3.0 * (v + 1.0 - v)
  np.testing.assert_allclose(x_next, x - (u - u_next) * v, atol=1e-5)
  guess = x - u * (2.0 * x + 1.0 + u)
  target = x_next - u_next * (0.25 * x_next + 1.0 + u_next)
  np.testing.assert_allclose(loss, ((guess - target) ** 2).mean(), rtol=1e-4)


@pytest.mark.parametrize(('last_pair', 'reached'), [(True, 2), (False, 1)])
def test_the_last_pair_is_taken_as_asked(last_pair, reached):
  seen = set()

  def film_fn(params, clean, x, t, text, shots, key, ranks=None):
    if params == 0.5:
      seen.add(float(t[0, 0, 0]))
    return x, None

  loss_fn = _consistency(film_fn, last_pair=last_pair, grid=2)
  for seed in range(12):
    loss_fn(
      2.0, film_batch(), jax.random.key(seed), {'teacher': 0.5, 'ema': 0.25}
    )
  assert len(seen) == reached and max(seen) == 1.0


def test_a_trajectory_passes_the_students_times():
  grid, seen = timesteps.euler_grid(48, 5.0), []

  def field(x, t):
    return x * t[..., None, None, None]

  noise = jax.random.normal(jax.random.key(0), (1, 2, 3, 2, 2, 4))
  points_J, end = trajectory(field, noise, grid=48, shift=5.0)
  x = noise
  for index, (t, t_next) in enumerate(itertools.pairwise(grid)):
    if index in (0, 12, 24, 36):
      np.testing.assert_allclose(points_J[len(seen)], x, atol=1e-5)
      seen.append(t)
    x = x - (t - t_next) * x * t
  np.testing.assert_allclose(end, x, atol=1e-5)
  np.testing.assert_allclose(seen, [1, 0.9375, 5 / 6, 0.625], atol=1e-6)
  np.testing.assert_allclose(timesteps.student_grid(4, 5.0)[:4], seen, 1e-6)


@pytest.mark.parametrize('causal', [True, False])
def test_stored_trajectories_are_those_made_on_the_way(causal):
  def film_fn(params, clean, x, t, text, shots, key, ranks=None):
    return params * x + clean * t[..., None, None, None], None

  key = jax.random.key(3)
  _, for_noise, for_routing = jax.random.split(key, 3)
  noise = jax.random.normal(for_noise, film_batch()['latents'].shape)
  stored = _integrate(film_fn, causal)(0.5, film_batch(), noise, for_routing)
  assert stored['points'].shape == (2, 12, 4, 2, 2, 4)
  np.testing.assert_array_equal(stored['points'][:, :, 0], noise)
  read = make_causal_ode_loss(film_fn, None, frames=FRAMES, shift=5.0)
  on_the_way = _ode(film_fn, causal)(0.7, film_batch(), key, {'teacher': 0.5})
  np.testing.assert_allclose(read(0.7, stored, key, {})[0], on_the_way[0], 1e-6)
  assert on_the_way[0] > 0.1


def test_a_bidirectional_teachers_own_film_is_the_past():
  pasts = []

  def film_fn(params, clean, x, t, text, shots, key, ranks=None):
    if params == 2.0:
      pasts.append(clean)
    return jnp.zeros_like(x), None  # the film is the noise

  key = jax.random.key(0)
  noise = jax.random.normal(jax.random.split(key, 3)[1], (2, 12, 2, 2, 4))
  for causal, past in ((True, film_batch()['latents']), (False, noise)):
    _ode(film_fn, causal)(2.0, film_batch(), key, {'teacher': 1.0})
    np.testing.assert_array_equal(pasts.pop().reshape(past.shape), past)


def test_guidance_of_one_is_the_prompted_velocity():
  def film_fn(params, clean, x, t, text, shots, key, ranks=None):
    return x + params * text.mean(), None

  films = guidance.films(film_batch(), FRAMES)
  x, t = films.clean_BNFYXC, jnp.ones(films.shape_BNF)
  for weight, shift in ((1.0, 1.0), (3.0, 3.0), (0.0, 0.0)):
    fn = guidance.guided(film_fn, films, jax.random.key(0), NEGATIVE, weight)
    np.testing.assert_allclose(fn(1.0, x, t), x + shift, atol=1e-5)


@pytest.mark.parametrize('per_chunk', [True, False])
def test_pairs_are_of_a_chunk_or_of_a_film(per_chunk):
  seen = []

  def film_fn(params, clean, x, t, text, shots, key, ranks=None):
    seen.append(np.asarray(t))
    return x, None

  loss_fn = _consistency(film_fn, per_chunk=per_chunk, grid=10_000)
  loss_fn(2.0, film_batch(), jax.random.key(3), {'teacher': 0.5, 'ema': 0.25})
  t_BNF = seen[0]
  assert (t_BNF == t_BNF[..., :1]).all()  # frames of a chunk share a time
  own = t_BNF if per_chunk else t_BNF[:, :1]
  assert len(np.unique(own)) == own[..., 0].size
  assert (t_BNF[:, :1] == t_BNF).all() != per_chunk
