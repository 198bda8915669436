"""Turns decoded frames into the pixels that a player shows.

What a container says about showing is applied in this order: colours (matrix,
range, primaries and transfer, converted to 8-bit RGB in BT.709), alpha, fields,
the crop of the container, the aspect of a pixel, and the display matrix, which
turns and mirrors. The crop of H.264 and its like is applied by the decoder.
"""

import fractions

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from PIL import Image

from cinejax.core.notes import note
from cinejax.film.cropping import NO_MARGINS, Margins
from cinejax.film.pictures import BACKGROUND

_UNSPECIFIED = 2  # of ITU-T H.273: matrix, primaries, transfer
_WIDE = frozenset({9, 11, 12})  # BT.2020, DCI-P3, Display P3
_HDR = frozenset({16, 18})  # PQ and HLG
_SD_HEIGHT = 576  # untagged video that is higher is BT.709, else BT.601
_OBLONG = 16  # pixels that are more oblong are an error of the file


def shown(
  frame: av.VideoFrame,
  pixel_aspect: fractions.Fraction | None,
  name: str,
  margins: Margins = NO_MARGINS,
) -> np.ndarray:
  """The frame as a player shows it: uint8 [Y, X, 3], RGB.

  Args:
    frame: as decoded.
    pixel_aspect: width over height of a pixel; None: square.
    name: how notes name the file.
    margins: what the container crops; ignored if nothing would be left.
  """
  image_YXC = _colours(frame, name)
  if frame.interlaced_frame:
    note(f'{name} is interlaced; one of its two fields is used')
    image_YXC = _first_field(image_YXC)
  image_YXC = _cropped(image_YXC, margins)
  image_YXC = _square_pixels(image_YXC, pixel_aspect)
  return _turned(image_YXC, frame)


def _colours(frame: av.VideoFrame, name: str) -> np.ndarray:
  """RGB in BT.709 without alpha."""
  given = {}
  if frame.color_trc in _HDR:
    note(
      f'{name} is HDR; it is converted to SDR, where highlights brighter than '
      'white are clipped'
    )
    given['dst_color_trc'] = ColorTrc.BT709
  if frame.color_primaries in _WIDE:
    given['dst_color_primaries'] = ColorPrimaries.BT709
  if frame.colorspace == _UNSPECIFIED and frame.height > _SD_HEIGHT:
    given['src_colorspace'] = Colorspace.ITU709
  if not _has_alpha(frame):
    return frame.reformat(format='rgb24', **given).to_ndarray()
  rgba_YXC = frame.reformat(format='rgba', **given).to_ndarray()
  alpha_YX1 = rgba_YXC[..., 3:].astype(np.uint32)
  if alpha_YX1.min() < 255:
    note(f'{name} has transparent parts; they are shown on white')
  mixed_YXC = rgba_YXC[..., :3] * alpha_YX1
  mixed_YXC += np.array(BACKGROUND, np.uint32) * (255 - alpha_YX1)
  return ((mixed_YXC + 127) // 255).astype(np.uint8)


def _has_alpha(frame: av.VideoFrame) -> bool:
  components = frame.format.components
  return frame.format.name == 'pal8' or any(c.is_alpha for c in components)


def _first_field(image_YXC: np.ndarray) -> np.ndarray:
  """The rows of the upper field, and between them their means."""
  upper_YXC = image_YXC[::2].astype(np.uint16)
  below_YXC = np.concatenate([upper_YXC[1:], upper_YXC[-1:]])
  image_YXC = image_YXC.copy()
  between_YXC = (upper_YXC + below_YXC + 1) // 2
  image_YXC[1::2] = between_YXC[: len(image_YXC[1::2])]
  return image_YXC


def _cropped(image_YXC: np.ndarray, margins: Margins) -> np.ndarray:
  height, width = image_YXC.shape[:2]
  rows = slice(margins.top, max(0, height - margins.bottom))
  columns = slice(margins.left, max(0, width - margins.right))
  kept_YXC = image_YXC[rows, columns]
  return kept_YXC if kept_YXC.size else image_YXC


def _square_pixels(
  image_YXC: np.ndarray, pixel_aspect: fractions.Fraction | None
) -> np.ndarray:
  """The picture enlarged in one direction, so that its pixels are square."""
  height, width = image_YXC.shape[:2]
  if pixel_aspect and 1 < pixel_aspect <= _OBLONG:
    width = round(width * pixel_aspect)
  elif pixel_aspect and 1 / _OBLONG <= pixel_aspect < 1:
    height = round(height / pixel_aspect)
  if (height, width) == image_YXC.shape[:2]:
    return image_YXC
  return resized(image_YXC, (height, width))


def resized(image_YXC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """The picture in `size`, (height, width), in pixels."""
  image = Image.fromarray(image_YXC)
  return np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS))


def _turned(image_YXC: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
  """The picture as the display matrix places it, in steps of 90 degrees.

  The matrix [[a, b], [c, d]] moves the pixel (x, y) to (a x + c y, b x + d y).
  """
  matrix = frame.side_data.get(Type.DISPLAYMATRIX)
  if matrix is None:
    return image_YXC
  a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32)
  if abs(int(b)) > abs(int(a)):
    image_YXC = image_YXC.swapaxes(0, 1)
    a, d = c, b
  flips = (
    slice(None, None, -1 if d < 0 else 1),
    slice(None, None, -1 if a < 0 else 1),
  )
  return np.ascontiguousarray(image_YXC[flips])
