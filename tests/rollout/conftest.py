"""Tiny films: 2 layers, 4 tokens a frame, and a bank that gets full."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax import config as config_lib
from cinejax.models import captions, rollout_pass
from cinejax.rollout import host_leaves
from cinejax.rollout.scan import make_scan
from cinejax.rollout.state import ChunkInput, init_state
from cinejax.rollout.step import Step
from configs import tiny
from tests.networks import random_dit

SHAPE = (3, 4, 4, 16)  # F, Y, X, C
TEXT = (8, 16)  # W, D
CHUNKS = 7


@dataclasses.dataclass
class Studio:
  """A model with random weights, and films of it."""

  cfg: config_lib.Config
  params: dict
  step: Step

  def begin(self, seeds=(5, 6)):
    state = init_state(
      self.cfg.dit,
      self.cfg.memory,
      key_B=jax.vmap(jax.random.key)(jnp.array(seeds)),
      latent_shape=SHAPE,
      text_shape=TEXT,
      guided=self.cfg.rollout.guidance != 1,
      fused=self.cfg.rollout.commit == 'fused',
    )
    archives = self.cfg.memory.archived_frames
    return host_leaves.committed(state) if archives else state

  def chunks(self, chunks=CHUNKS, batch=2, seed=9):
    """A new prompt every other chunk, with a cut every fourth."""
    prompts = jax.random.normal(
      jax.random.key(seed), ((chunks + 1) // 2, batch, *TEXT)
    )
    cut_N = jnp.arange(chunks) % 4 == 2
    return ChunkInput(
      text_BWD=jnp.repeat(prompts, 2, 0)[:chunks],
      cut_B=jnp.broadcast_to(cut_N[:, None], (chunks, batch)),
    )

  def film(self):
    """Makes a whole film in one scan: (last state, outputs)."""
    return make_scan(self.step)(self.params, self.begin(), self.chunks())


def make_studio(**overrides) -> Studio:
  """A studio of the tiny config; override names are `section__key`."""
  config = tiny.get_config()
  for key, value in overrides.items():
    section, name = key.split('__')
    config[section][name] = value
  cfg = config_lib.resolve(config)
  step = Step(
    denoise_fn=rollout_pass.make_denoise_fn(cfg.dit, cfg.memory),
    memory=cfg.memory,
    diffusion=cfg.diffusion,
    rollout=cfg.rollout,
    latent_shape=SHAPE,
    negative_text_WD=np.zeros(TEXT, np.float32),
    caption_fn=captions.make_caption_fn(cfg.dit, SHAPE[0]),
    context_fn=rollout_pass.make_context_fn(cfg.dit, cfg.memory),
  )
  return Studio(cfg, random_dit(cfg.dit), step)


@pytest.fixture(scope='session')
def studio():
  return make_studio
