"""The colours, texts and thumbnails of pages of frames.

Text uses the scalable font of Pillow, so no font has to be installed.
"""

import numpy as np
from PIL import Image, ImageFont

BACKGROUND, FOREGROUND, DIM = '#14161a', '#eceff4', '#8b93a1'
ACCENT = '#f2a65a'
_THUMBNAIL_HEIGHT, _THUMBNAIL_WIDTH = 128, 240  # pixels, at most


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
  """(width, height) of a frame that fills its cell."""
  factor = min(_THUMBNAIL_HEIGHT / height, _THUMBNAIL_WIDTH / width)
  return max(1, round(width * factor)), max(1, round(height * factor))


def thumbnail(frame_YXC: np.ndarray, size: tuple[int, int]) -> Image.Image:
  image = Image.fromarray(frame_YXC)
  # Pixels stay square and sharp if they grow by a whole factor.
  whole = size[0] % image.width == 0 and size[1] % image.height == 0
  sampling = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
  return image.resize(size, sampling)


def wrap(
  text: str, font: ImageFont.FreeTypeFont, width: int, max_lines: int
) -> list[str]:
  """Lines no wider than `width` pixels; an ellipsis marks omitted text."""
  lines = ['']
  for word in text.split():
    longer = f'{lines[-1]} {word}'.strip()
    if lines[-1] and font.getlength(longer) > width:
      lines.append(word)
    else:
      lines[-1] = longer
    if len(lines) > max_lines:
      last = lines[max_lines - 1]
      while last and font.getlength(f'{last}…') > width:
        last = last[:-1]
      return [*lines[: max_lines - 1], f'{last.rstrip()}…']
  return lines
