"""Distribution matching, with formulas in place of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion.config import DiffusionConfig
from cinejax.objectives import guidance
from cinejax.objectives.adversarial import Adversary
from cinejax.objectives.dmd import make_dmd_loss
from cinejax.objectives.teacher_forcing import velocity_loss

FRAMES, CHUNKS, FILMS = 3, 4, 2
SHAPE = (FILMS, CHUNKS, FRAMES, 2, 2, 4)
NEGATIVE = jnp.zeros((5, 6))


def _batch(mask=None):
  shape = (FILMS, CHUNKS * FRAMES, *SHAPE[3:])
  return {
    'latents': jax.random.normal(jax.random.key(0), shape),
    'text': jnp.ones((FILMS, CHUNKS, 5, 6)),
    'mask': jnp.ones((FILMS, CHUNKS)) if mask is None else mask,
    'shots': jnp.zeros((FILMS, CHUNKS), jnp.int32),
  }


def _student_fn(params, batch, key):
  """A student whose film is its parameter."""
  return jnp.broadcast_to(params['x'], SHAPE), batch


def _score_fn(params, clean, x, t, text, shots, key, ranks=None):
  """A score that predicts its parameter plus the mean of the text."""
  t = t[..., None, None, None]
  caption = text.mean((-2, -1))[..., None, None, None, None]
  return (x - (params['x'] + caption)) / jnp.maximum(t, 1e-6), None


def _params(student=1.0, fake=2.0):
  return {'student': {'x': jnp.full((1,) * 6, student)}, 'fake': _at(fake)}


def _at(x):
  return {'x': jnp.full((1,) * 6, x)}


def _loss(weight=1.0, time_per='chunk', every=5, adversary=None):
  return make_dmd_loss(
    _student_fn,
    _score_fn,
    _score_fn,
    DiffusionConfig(shift=5.0, time_per=time_per),
    guidance=weight,
    negative_text_WD=NEGATIVE,
    every=every,
    adversary=adversary,
  )


def _grads(loss_fn, params, real, step=0, batch=None):
  given = {'real': _at(real), 'step': jnp.int32(step)}
  grad_fn = jax.jit(jax.grad(lambda *args: loss_fn(*args)[0]))
  return grad_fn(params, batch or _batch(), jax.random.key(1), given)


def test_the_student_rests_where_its_score_is_the_teachers():
  grads = _grads(_loss(), _params(fake=3.0), real=3.0)
  assert float(grads['student']['x'].sum()) == 0
  assert float(jnp.abs(grads['fake']['x']).sum()) > 0


def test_the_student_is_measured_at_its_turns():
  for step, turn in ((0, True), (3, False), (5, True)):
    given = {'real': _at(5.0), 'step': jnp.int32(step)}
    loss, metrics = jax.jit(_loss())(
      _params(1.0, 2.0), _batch(), jax.random.key(1), given
    )
    assert jnp.isfinite(loss) and jnp.isfinite(metrics['fake'])
    assert bool(jnp.isfinite(metrics['student'])) == turn
    if turn:
      np.testing.assert_allclose(loss, metrics['student'] + metrics['fake'])


@pytest.mark.parametrize(
  ('weight', 'time_per'), [(1.0, 'film'), (4.0, 'chunk')]
)
def test_it_moves_from_the_fake_score_to_the_guided_real_one(weight, time_per):
  # x = 1; fake sees 2 + 1; real 5 + 1 with the prompt, 5 without: 5 + w
  grads = _grads(_loss(weight, time_per), _params(1.0, 2.0), real=5.0)
  expected = (3 - (5 + weight)) / abs(1 - (5 + weight))
  np.testing.assert_allclose(grads['student']['x'].sum(), expected, rtol=1e-5)


def test_padding_pulls_at_nothing():
  mask = jnp.array([[1.0, 1, 1, 0], [1, 0, 0, 0]])
  kept = mask[..., None, None, None, None]

  def padded(params, batch, key):
    return jnp.broadcast_to(params['x'], SHAPE) + 100 * (1 - kept), batch

  loss_fn = make_dmd_loss(
    padded,
    _score_fn,
    _score_fn,
    DiffusionConfig(shift=5.0, time_per='film'),
    guidance=1.0,
    negative_text_WD=NEGATIVE,
    every=1,
  )
  grads = _grads(loss_fn, _params(1.0, 2.0), 5.0, batch=_batch(mask))
  pull = grads['student']['x'].sum()
  np.testing.assert_allclose(pull, (3 - 6) / 5, rtol=1e-5)


def test_nothing_but_padding_is_no_gradient():
  grads = _grads(_loss(), _params(), 5.0, batch=_batch(jnp.zeros((2, CHUNKS))))
  assert all(float(x.sum()) == 0 for x in jax.tree.leaves(grads))


def test_the_student_learns_at_its_turns_the_fake_score_always():
  loss_fn, params, turns = _loss(every=5), _params(), []

  @jax.jit
  def at(step):
    given = {'real': _at(5.0), 'step': step}
    grad_fn = jax.grad(loss_fn, has_aux=True)
    return grad_fn(params, _batch(), jax.random.key(1), given)[0]

  for step in range(11):
    grads = at(step)
    turns.append(float(grads['student']['x'].sum()) != 0)
    assert float(grads['fake']['x'].sum()) != 0
  assert turns == [step % 5 == 0 for step in range(11)]


def test_the_fake_score_is_taught_by_the_students_film_alone():
  params, key = _params(), jax.random.key(1)
  grads = _grads(_loss(), params, real=5.0)
  films = guidance.films(_batch(), FRAMES)
  made = films.replace(clean_BNFYXC=jnp.ones(SHAPE))

  def loss(fake):
    for_fake = jax.random.split(key, 4)[2]
    diffusion = DiffusionConfig(shift=5.0, time_per='chunk')
    return velocity_loss(_score_fn, fake, made, diffusion, for_fake)

  np.testing.assert_allclose(
    grads['fake']['x'], jax.jit(jax.grad(loss))(params['fake'])['x'], rtol=1e-5
  )


def _adversary(weight=0.5, r1=0.0, r2=0.0):
  """A head whose logit is its parameter times the mean of its input."""

  def values_fn(params, clean, x, t, text, shots, key, ranks=None):
    return x[None]

  def logit_fn(head, values):
    return head['w'] * values[0].mean(range(2, 6))

  return Adversary(values_fn, logit_fn, weight, r1, r2)


@pytest.mark.slow
def test_a_head_that_cannot_tell_gives_what_a_coin_does():
  batch = _batch()
  params = _params() | {'head': {'w': jnp.zeros(())}}
  given = {'real': _at(5.0), 'step': jnp.int32(0)}
  loss_fn = _loss(adversary=_adversary())
  _, metrics = jax.jit(loss_fn)(params, batch, jax.random.key(1), given)
  np.testing.assert_allclose(metrics['head'], 2 * np.log(2), rtol=1e-6)
  _, alone = jax.jit(_loss())(params, batch, jax.random.key(1), given)
  np.testing.assert_allclose(
    metrics['student'] - alone['student'], 0.5 * np.log(2), rtol=1e-5
  )


def test_the_head_learns_to_tell_and_the_student_to_fool_it():
  # real films have mean 0, the student's films mean 1
  loss_fn = _loss(adversary=_adversary())
  params = _params() | {'head': {'w': jnp.zeros(())}}
  assert _grads(loss_fn, params, 5.0)['head']['w'] > 0
  with_head = params | {'head': {'w': jnp.float32(-1)}}
  fooling = _grads(loss_fn, with_head, 5.0)['student']['x']
  alone = _grads(_loss(), _params(), 5.0)['student']['x']
  assert fooling.sum() > alone.sum()
  fake = _grads(loss_fn, with_head, 5.0)['fake']['x']
  np.testing.assert_array_equal(
    fake, _grads(_loss(), _params(), 5.0)['fake']['x']
  )


def test_a_penalty_is_the_square_of_the_slope():
  films = guidance.films(_batch(), FRAMES)
  t_BNF, noise = jnp.zeros(films.shape_BNF), jnp.zeros(SHAPE)

  def loss(r1, r2):
    head = {'w': jnp.float32(3)}
    arguments = (None, head, (films, films), t_BNF, noise, jax.random.key(2))
    return _adversary(1.0, r1, r2).head_loss(*arguments)

  nudge = jax.random.normal(jax.random.fold_in(jax.random.key(2), 1), SHAPE)
  slope = 3 * nudge.mean(range(2, 6))
  expected = float(jnp.square(slope).mean())
  plain = loss(0.0, 0.0)
  np.testing.assert_allclose(loss(2.0, 0.0) - plain, 2 * expected, rtol=1e-2)
  np.testing.assert_allclose(loss(0.0, 2.0) - plain, 2 * expected, rtol=1e-2)
