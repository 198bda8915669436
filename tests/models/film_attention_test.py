"""Films of one chunk, and memory that does not grow with the film squared."""

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.models import film_attention
from cinejax.models.attention import attend


def _qkv(chunks, tokens=8):
  shape = (3, 2, 2 * chunks, tokens, 2, 8)
  return jax.random.normal(jax.random.key(0), shape)


def test_a_film_of_one_chunk_attends_within_segments():
  q, k, v = _qkv(chunks=1)
  out = film_attention.attend(q, k, v, 1)
  for segment in range(2):
    alone = attend(*(x[:, segment] for x in (q, k, v)), None, 'xla')
    np.testing.assert_allclose(out[:, segment], alone, atol=1e-5)


def test_no_probability_is_kept_for_the_gradient():
  """Residuals are linear in the film's length; probabilities are not."""

  def residuals(chunks):
    def pull(*args):
      return jax.vjp(lambda *x: film_attention.attend(*x, chunks), *args)[1]

    shapes = jax.eval_shape(pull, *_qkv(chunks))
    return sum(x.size for x in jax.tree.leaves(shapes))

  assert residuals(8) < 2.1 * residuals(4)


def test_half_precision_keeps_its_type():
  q, k, v = _qkv(chunks=3).astype(jnp.bfloat16)
  grads = jax.eval_shape(
    jax.grad(
      lambda *args: film_attention.attend(*args, 3).astype(jnp.float32).sum(),
      (0, 1, 2),
    ),
    *(q, k, v),
  )
  assert {x.dtype for x in grads} == {jnp.dtype(jnp.bfloat16)}
