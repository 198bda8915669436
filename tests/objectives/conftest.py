"""Tiny students: 2 layers, one token a frame, and a bank that gets full."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from cinejax import config as config_lib
from cinejax.models import captions, rollout_pass
from cinejax.rollout.step import Step
from configs import tiny
from tests.networks import random_dit

TEXT = (4, 16)  # W, D


@dataclasses.dataclass
class Studio:
  """A student with random weights, and batches for it."""

  cfg: config_lib.Config
  params: dict

  def make_step(self, latent_shape):
    return Step(
      denoise_fn=rollout_pass.make_denoise_fn(self.cfg.dit, self.cfg.memory),
      memory=self.cfg.memory,
      diffusion=self.cfg.diffusion,
      rollout=self.cfg.rollout,
      latent_shape=latent_shape,
      negative_text_WD=np.zeros(TEXT, np.float32),
      caption_fn=captions.make_caption_fn(self.cfg.dit, latent_shape[0]),
    )

  @property
  def step(self):
    return self.make_step((self.cfg.film.frames_per_chunk, 2, 2, 16))

  def batch(self, chunks=3, films=2):
    rng = np.random.default_rng(0)
    frames = chunks * self.cfg.film.frames_per_chunk
    latents = rng.normal(size=(films, frames, 2, 2, 16))
    text = rng.normal(size=(films, chunks, *TEXT))
    return {
      'latents': jnp.asarray(latents, jnp.float32),
      'text': jnp.asarray(text, jnp.float32),
      'mask': jnp.ones((films, chunks)),
      'shots': jnp.tile(jnp.arange(chunks)[None] // 2, (films, 1)),
    }


@pytest.fixture(scope='session')
def studio():
  def make(**overrides):
    """A studio of the tiny config; override names are `section__key`."""
    config = tiny.get_config()
    config.text.words = TEXT[0]
    config.rollout.update({'sampler': 'few_step', 'steps': 4, 'guidance': 1.0})
    config.memory.update({'window_frames': 3, 'bank_frames': 9})
    for key, value in overrides.items():
      section, name = key.split('__')
      config[section][name] = value
    cfg = config_lib.resolve(config)
    return Studio(cfg, random_dit(cfg.dit))

  return make
