"""A film that begins with an image is that of diffusers' TI2V pipeline."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from cinejax.config import resolve
from cinejax.core import tree as tree_lib
from cinejax.directing.rollout_programs import first_state, make_step
from cinejax.interop import sizes, views
from cinejax.interop.archive import open_archive
from cinejax.interop.mapped import read
from cinejax.rollout.sampler import Sampler
from cinejax.rollout.state import ChunkInput
from configs import tiny

TOLERANCE = 1e-4  # of PyTorch's, in float32


def _last(x):
  """Channels last: [B, C, F, Y, X] -> [B, F, Y, X, C]."""
  return jnp.moveaxis(jnp.asarray(x[:]), 1, -1)


@pytest.fixture(scope='module')
def network(fixtures):
  path = fixtures / 'fixture_wan_dit_tiny.safetensors'
  with safe_open(path, 'np') as file:
    theirs = json.loads(file.metadata()['config'])
  archive = open_archive(path)
  weights = {
    name[2:]: x for name, x in archive.tensors.items() if name.startswith('w.')
  }
  archive = dataclasses.replace(archive, tensors=weights)
  cfg = dataclasses.replace(
    sizes.read_sizes(archive, 'diffusers'),
    heads=theirs['num_attention_heads'],
    head_features=theirs['attention_head_dim'],
    attention='xla',
  )
  leaves = views.to_leaves(weights, 'diffusers', sizes.leaf_shapes(cfg))
  return cfg, tree_lib.nested({name: read(x) for name, x in leaves.items()})


def test_the_first_latent_frame_is_clean(fixtures, network, monkeypatch):
  dit, params = network
  given = open_archive(fixtures / 'fixture_wan_ti2v.safetensors').tensors
  noise, film = _last(given['noise']), _last(given['film'])
  _, frames, rows, columns, channels = noise.shape
  cfg = resolve(tiny.get_config())
  words, features = given['text'].shape[1:]
  cfg = dataclasses.replace(
    cfg,
    dit=dit,
    codec=dataclasses.replace(cfg.codec, channels=channels),
    film=dataclasses.replace(
      cfg.film,
      frames_per_chunk=frames,
      height=rows * cfg.codec.spatial_stride,
      width=columns * cfg.codec.spatial_stride,
    ),
    text=dataclasses.replace(cfg.text, words=words, features=features),
    rollout=dataclasses.replace(
      cfg.rollout, sampler='unipc', steps=4, guidance=5.0
    ),
    diffusion=dataclasses.replace(cfg.diffusion, shift=5.0),
  )
  monkeypatch.setattr(Sampler, 'noise', lambda self, state: noise[None])
  step = make_step(cfg, jnp.asarray(given['negative'][:])[0])
  state = first_state(cfg, jax.random.split(jax.random.key(0), 1))

  def error(image_BYXC):
    chunk = ChunkInput(
      text_BWD=jnp.asarray(given['text'][:]),
      cut_B=jnp.zeros(1, bool),
      image_BYXC=image_BYXC,
    )
    _, output, *_ = denoise(params, state, chunk)
    return float(np.abs(output.latents_BFYXC - film).max())

  denoise = jax.jit(step.denoise)
  image_BYXC = _last(given['image'])[:, 0]
  assert error(image_BYXC) < TOLERANCE
  assert error(image_BYXC.at[0, 0, 0, 0].add(0.01)) > TOLERANCE
