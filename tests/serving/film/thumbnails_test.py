"""Thumbnails: their size in pixels and in bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from cinejax.serving.film.thumbnails import MAX_BYTES, thumbnail


@pytest.mark.parametrize(
  ('shape', 'size'), [((480, 832), (166, 96)), ((64, 64), (64, 64))]
)
def test_a_thumbnail_is_a_small_jpeg(shape, size):
  noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
  data = thumbnail(noise)  # noise is the hardest to compress
  image = Image.open(io.BytesIO(data))
  assert image.format == 'JPEG' and image.size == size
  assert len(data) <= MAX_BYTES
