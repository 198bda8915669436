"""What is read of captions once is what each pass would read of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax import config as config_lib
from cinejax.models import denoiser, film_mixing
from cinejax.models.arrangement import separated
from cinejax.models.captions import make_caption_fn
from cinejax.models.dit import DiT
from configs import tiny
from tests.networks import random_dit

FRAMES = 3


@pytest.mark.parametrize(
  ('unroll', 'actions'),
  [
    pytest.param('none', 0, marks=pytest.mark.slow),
    pytest.param('rollout', 0, marks=pytest.mark.slow),
    pytest.param('none', 4, marks=pytest.mark.slow),
    ('rollout', 4),
  ],
)
def test_captions_are_read_once(unroll, actions):
  cfg = config_lib.resolve(tiny.get_config()).dit
  cfg = dataclasses.replace(cfg, unroll=unroll, actions=actions)
  params = separated(cfg, random_dit(cfg))
  x = jax.random.normal(jax.random.key(0), (2, 2, FRAMES, 4, 4, cfg.channels))
  text = jax.random.normal(
    jax.random.key(1), (2, 2, 8 + FRAMES * bool(actions), cfg.text_features)
  )

  @jax.jit
  def both(params):
    mixer = film_mixing.BidirectionalMixer(denoiser.token_grid(cfg, x))
    t_BSF = jnp.full((2, 2, FRAMES), 0.3)
    read = make_caption_fn(cfg, FRAMES)(params, text)
    return [
      DiT(cfg, mixer).apply(
        {'params': params}, x, t_BSF, one, None, None, None
      )[0]
      for one in (text, read)
    ]

  each, once = both(params)
  assert np.abs(each).max() > 0.1
  np.testing.assert_allclose(once, each, atol=1e-5)
