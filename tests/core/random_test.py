import jax
import numpy as np
import pytest

from cinejax.core.random import key_from_seed


@pytest.mark.parametrize('seed', [0, 1, 2**31, 2**32 - 1, np.int64(7)])
def test_a_seed_of_32_bits_has_the_key_of_jax(seed):
  assert key_from_seed(seed) == jax.random.key(seed)


def test_seeds_that_differ_in_any_bit_have_different_keys():
  seeds = [0, 5, *(5 + 2**bit for bit in range(3, 70))]
  keys = {
    tuple(np.asarray(jax.random.key_data(key_from_seed(seed))).tolist())
    for seed in seeds
  }
  assert len(keys) == len(seeds)


def test_negative_seeds_are_refused():
  with pytest.raises(ValueError, match='seed is -1; it must not be negative'):
    key_from_seed(-1)
