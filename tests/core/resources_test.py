import jax
import jax.numpy as jnp

from cinejax.core import resources


def test_only_new_programs_count_as_compiled():
  double = jax.jit(lambda x: 2 * x)
  three, four = jnp.ones(3), jnp.ones(4)
  with resources.count_compiles() as counter:
    double(three)
    assert counter.count == 1
    double(three)
    assert counter.count == 1
    double(four)
    assert counter.count == 2
  double(jnp.ones(5))
  assert counter.count == 2


def test_peak_memory_of_a_program_holds_what_it_needs():
  x = jnp.ones((256, 256))
  product = jax.jit(lambda x: x @ x)
  peak = resources.peak_memory(product.lower(x).compile())
  assert peak['peak_memory_of'] == 'executable'
  assert peak['peak_memory_bytes'] >= 2 * x.nbytes


def test_a_donated_argument_is_not_counted_twice():
  x = jnp.ones((256, 256))
  grow = jax.jit(lambda x: x + 1, donate_argnums=0)
  kept = jax.jit(lambda x: x + 1)
  peaks = [
    resources.peak_memory(f.lower(x).compile())['peak_memory_bytes']
    for f in (grow, kept)
  ]
  assert peaks[1] - peaks[0] == x.nbytes


def test_without_a_program_it_is_that_of_the_process():
  peak = resources.peak_memory()
  assert peak['peak_memory_of'] == 'process'
  assert 2**26 < peak['peak_memory_bytes'] < 2**38  # 64 MiB to 256 GiB


def test_the_environment_has_device_and_versions():
  facts = resources.environment()
  assert facts['jax'] == jax.__version__
  assert facts['devices'] == 8
  assert facts['device'] == jax.devices()[0].device_kind


def test_tree_bytes():
  tree = {'a': jnp.zeros((2, 3)), 'b': (jnp.zeros(4, jnp.int8), None)}
  assert resources.tree_bytes(tree) == 2 * 3 * 4 + 4
