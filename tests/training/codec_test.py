"""The stage `codec` with a trained encoder, from scratch."""

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
from cinejax.training import codec_stage, stages, trainer
from configs import tiny

CLIPS = 32  # all that the encoder and the latents are measured on


@pytest.fixture(scope='module')
def cfg():
  config = tiny.get_config()
  config.codec.encoder = 'conv'
  config.codec.noise = 0.3
  config.story.films = CLIPS // 8  # a film has 8 clips
  config.train.stages = ('codec',)
  config.train.log_every_steps = 1
  config.stage.codec.batch = 4
  config.stage.codec.steps = 3
  config.stage.codec.optimizer = 'adamw'  # compiles faster than muon
  config.stage.codec.warmup_steps = 0
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(codec_stage, '_MEASURED_CLIPS', CLIPS)
    yield resolve(config)


@pytest.fixture(scope='module')
def trained(cfg, tmp_path_factory):
  """The folder with the weights after 3 updates."""
  folder = tmp_path_factory.mktemp('codec')
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  trainer.run_stage(stages.find('codec'), cfg, folder, mesh)
  return folder


@pytest.mark.slow
def test_latents_of_what_is_written_are_standard(cfg, trained):
  codec, params = load_codec(cfg.codec, trained)
  clips = StoryClips(cfg.story.seed, cfg.story.films, cfg.story.clip_frames)
  video_BTYXC = np.stack([clips[i] for i in range(len(clips))])
  z_NC = np.asarray(
    jax.jit(codec.encode)(params, from_bytes(video_BTYXC))
  ).reshape(-1, cfg.codec.channels)
  # measured on the same clips, but stored as bfloat16
  np.testing.assert_allclose(z_NC.mean(0), 0.0, atol=0.03)
  np.testing.assert_allclose(z_NC.std(0), 1.0, atol=0.03)


@pytest.mark.slow
def test_encoder_and_decoder_were_trained_and_what_is_measured_was_not(
  cfg, trained
):
  params, metadata = load_tree(trained / 'codec.safetensors')
  assert metadata['steps'] == '3'
  assert np.abs(params['correction']['out']['kernel']).max() > 0  # 0 in `init`
  assert np.abs(params['decoder']['patch']['kernel']).max() > 0
  program = stages.find('codec').build(cfg, trained)
  fresh = jax.jit(program.init_fn)(jax.random.key(cfg.seed))
  jax.tree.map(
    lambda found, x: np.testing.assert_array_equal(
      found, np.asarray(x).astype('bfloat16')
    ),
    params['encoder'],
    fresh['encoder'],
  )


@pytest.mark.slow
def test_a_new_decoder_keeps_the_latents(cfg, tmp_path):
  keeps = dataclasses.replace(cfg.codec, keep_latents=True)
  program = stages.find('codec').build(
    dataclasses.replace(cfg, codec=keeps), tmp_path
  )
  params = jax.jit(program.init_fn)(jax.random.key(0))
  optimizer = program.optimizer_fn(cfg.stage.codec)
  grads = jax.tree.map(jnp.ones_like, params)
  updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
  assert all(x.any() for x in jax.tree.leaves(updates.pop('decoder')))
  # weight decay does not change them either
  assert not any(x.any() for x in jax.tree.leaves(updates))
  assert program.ship_fn(params, {}) is params  # and nothing is measured again


def test_an_encoder_is_one_of_two():
  config = tiny.get_config()
  config.codec.encoder = 'deep'
  with pytest.raises(UserError, match='it must be one of linear, conv'):
    resolve(config)
