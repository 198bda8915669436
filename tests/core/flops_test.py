import jax
import jax.numpy as jnp
import pytest

from cinejax.core import flops

A, B = jnp.zeros((3, 4)), jnp.zeros((4, 5))


def test_a_product_is_two_for_each_pair():
  assert flops.count(jnp.matmul, A, B) == 2 * 3 * 4 * 5
  batched = flops.count(
    lambda a, b: jnp.einsum('bij,bjk->bik', a, b),
    jax.ShapeDtypeStruct((7, 3, 4), jnp.bfloat16),
    jax.ShapeDtypeStruct((7, 4, 5), jnp.bfloat16),
  )
  assert batched == 7 * 2 * 3 * 4 * 5


def test_loops_count_as_often_as_they_run_and_branches_by_the_most_expensive():
  def loop(a):
    body = lambda x, _: (jnp.tanh(x @ jnp.zeros((4, 4))), None)  # noqa: E731
    x, _ = jax.lax.scan(jax.checkpoint(body), a, length=6)
    return jax.lax.cond(x[0, 0] > 0, lambda: x, lambda: x @ x.T @ x)

  inside = 2 * 3 * 3 * 4 + 2 * 3 * 3 * 4
  assert flops.count(jax.jit(loop), A) == 6 * 2 * 3 * 4 * 4 + inside


def test_the_caller_sets_how_often_a_branch_is_taken_and_a_loop_runs():
  def drawn(a, n):
    x = jax.lax.fori_loop(0, n, lambda _, x: x @ jnp.zeros((4, 4)), a)
    return jax.lax.cond(n > 3, lambda: x @ x.T @ x, lambda: x)

  loop, branch = 2 * 3 * 4 * 4, 2 * 2 * 3 * 3 * 4
  assert flops.count(drawn, A, 2) == loop + branch
  assert flops.count(drawn, A, 2, often=0.25, trips=3) == 3 * loop + branch / 4


def test_backward_of_a_layer_is_twice_its_forward():
  loss = lambda w, x: jnp.sum(jnp.tanh(x @ w) @ w)  # noqa: E731
  w, x = jnp.zeros((4, 4)), jnp.zeros((9, 4))
  forward = flops.count(loss, w, x)
  # nobody asks for the gradient of x
  assert flops.count(jax.grad(loss), w, x) == 3 * forward - 2 * 9 * 4 * 4


def test_a_convolution():
  def convolve(x, k):
    return jax.lax.conv_general_dilated(
      x, k, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )

  x, k = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 5))
  assert flops.count(convolve, x, k) == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)


def test_kernels_are_refused():
  from cinejax.models import attention

  q = jnp.zeros((1, 128, 1, 128))
  with pytest.raises(ValueError, match='kernel'):
    flops.count(lambda q: attention.attend(q, q, q, None, 'splash'), q)


def test_what_is_computed_again_does_not_count():
  @jax.jit
  def recomputed(x, y):
    return x @ y

  x, y = jnp.ones((3, 4)), jnp.ones((4, 5))
  assert flops.count(lambda x, y: recomputed(x, y) + x @ y, x, y) == 2 * 60
