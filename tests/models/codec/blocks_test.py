"""Blocks of pixels: merging is the inverse of splitting."""

import dataclasses

import jax
import numpy as np

from cinejax.config import resolve
from cinejax.models.codec import blocks
from configs import tiny

CFG = dataclasses.replace(
  resolve(tiny.get_config()).codec, temporal_stride=4, spatial_stride=2
)


def test_merging_is_the_inverse_of_splitting():
  video_BTYXC = jax.random.normal(jax.random.key(0), (2, 9, 4, 6, 3))
  split = blocks.split(CFG, video_BTYXC)
  assert split.shape == (2, 3, 2, 3, blocks.size(CFG))
  merged = blocks.merge(CFG, split, first=True)
  np.testing.assert_array_equal(merged, video_BTYXC)


def test_later_blocks_have_all_of_their_frames():
  video_BTYXC = jax.random.normal(jax.random.key(0), (1, 9, 2, 2, 3))
  later = blocks.split(CFG, video_BTYXC)[:, 1:]
  merged = blocks.merge(CFG, later, first=False)
  np.testing.assert_array_equal(merged, video_BTYXC[:, 1:])
