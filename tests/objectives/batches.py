"""Batches of two random films for losses whose networks are formulas."""

import jax
import jax.numpy as jnp

FRAMES, CHUNKS = 3, 4


def film_batch(mask=None):
  shape = (2, CHUNKS * FRAMES, 2, 2, 4)
  return {
    'latents': jax.random.normal(jax.random.key(0), shape),
    'text': jnp.ones((2, CHUNKS, 5, 6)),
    'mask': jnp.ones((2, CHUNKS)) if mask is None else mask,
    'shots': jnp.zeros((2, CHUNKS), jnp.int32),
  }
