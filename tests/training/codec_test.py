"""The stage `codec` of an encoder that is trained, from nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.interop.tensors import load_tree
from cinejax.interop.weights import load_codec
from cinejax.models.codec.base import from_bytes
from cinejax.story.clips import StoryClips
from cinejax.training import stages, trainer
from configs import tiny


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """The config, and the folder with what three updates made."""
  config = tiny.get_config()
  config.codec.encoder = 'conv'
  config.codec.noise = 0.3
  config.story.films = 16
  config.train.stages = ('codec',)
  config.train.log_every_steps = 1
  config.stage.codec.batch = 8  # as many as there are devices
  config.stage.codec.steps = 3
  config.stage.codec.optimizer = 'adamw'  # compiled sooner than muon
  config.stage.codec.warmup_steps = 0
  cfg, folder = resolve(config), tmp_path_factory.mktemp('codec')
  trainer.run_stage(stages.find('codec'), cfg, folder, make_mesh(cfg.mesh))
  return cfg, folder


def test_latents_of_what_is_written_are_standard(trained):
  cfg, folder = trained
  codec, params = load_codec(cfg.codec, folder)
  clips = StoryClips(cfg.story.seed, cfg.story.films, cfg.story.clip_frames)
  video_BTYXC = np.stack([clips[i] for i in range(len(clips))])
  z_NC = np.asarray(
    jax.jit(codec.encode)(params, from_bytes(video_BTYXC))
  ).reshape(-1, cfg.codec.channels)
  # measured on the same clips, and stored as bfloat16
  np.testing.assert_allclose(z_NC.mean(0), 0.0, atol=0.03)
  np.testing.assert_allclose(z_NC.std(0), 1.0, atol=0.03)


def test_encoder_and_decoder_were_trained_and_what_is_measured_was_not(trained):
  cfg, folder = trained
  params, metadata = load_tree(folder / 'codec.safetensors')
  assert metadata['steps'] == '3'
  assert np.abs(params['correction']['out']['kernel']).max() > 0  # 0 in `init`
  assert np.abs(params['decoder']['patch']['kernel']).max() > 0
  program = stages.find('codec').build(cfg, folder)
  fresh = program.init_fn(jax.random.key(cfg.seed))
  jax.tree.map(
    lambda found, x: np.testing.assert_array_equal(
      found, np.asarray(x).astype('bfloat16')
    ),
    params['encoder'],
    fresh['encoder'],
  )


def test_a_new_decoder_keeps_the_latents(trained):
  cfg, folder = trained
  keeps = dataclasses.replace(cfg.codec, keep_latents=True)
  program = stages.find('codec').build(
    dataclasses.replace(cfg, codec=keeps), folder
  )
  params = program.init_fn(jax.random.key(0))
  optimizer = program.optimizer_fn(cfg.stage.codec)
  grads = jax.tree.map(jnp.ones_like, params)
  updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
  assert all(x.any() for x in jax.tree.leaves(updates.pop('decoder')))
  # no decay either
  assert not any(x.any() for x in jax.tree.leaves(updates))
  assert program.ship_fn(params, {}) is params  # nor measured again


def test_an_encoder_is_one_of_two():
  config = tiny.get_config()
  config.codec.encoder = 'deep'
  with pytest.raises(UserError, match='it must be one of linear, conv'):
    resolve(config)
