"""Random keys from seeds of any size.

`jax.random.key` keeps the low 32 bits of an integer, unless 64-bit types are
enabled, so two seeds that differ only above them would give the same noise.
"""

import operator

import jax

_WORD_BITS = 32


def key_from_seed(seed: int) -> jax.Array:
  """A typed PRNG key that depends on every bit of `seed`.

  The key of a seed below 2**32 is `jax.random.key(seed)`; the higher words of
  a larger seed are folded into it, the lowest of them first.

  Raises ValueError if `seed` is negative.
  """
  seed = operator.index(seed)
  if seed < 0:
    raise ValueError(f'seed is {seed}; it must not be negative')
  high, low = divmod(seed, 1 << _WORD_BITS)
  key = jax.random.key(low)
  while high:
    high, word = divmod(high, 1 << _WORD_BITS)
    key = jax.random.fold_in(key, word)
  return key
