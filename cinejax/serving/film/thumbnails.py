"""Thumbnails of frames."""

import numpy as np
from PIL import Image

from cinejax.film.media import encode_frame

_HEIGHT = 96  # pixels, at most
MAX_BYTES = 16_384  # assumed of a thumbnail; none is larger at this size


def thumbnail(frame_YXC: np.ndarray) -> bytes:
  """A JPEG of a uint8 frame, at most 96 pixels high."""
  height, width = frame_YXC.shape[:2]
  if height > _HEIGHT:
    size = (max(1, round(width * _HEIGHT / height)), _HEIGHT)
    small = Image.fromarray(frame_YXC).resize(size, Image.Resampling.LANCZOS)
    frame_YXC = np.asarray(small)
  return encode_frame(frame_YXC, quality=80)
