"""Video files and image bytes.

Films are written as H.264, yuv420p, BT.709, which all browsers and players
show. Pixel frames are uint8 RGB. Frames that are read are those that a player
shows (film/showing.py), at the times that the file gives (film/footage.py).
"""

import fractions
import io
import math
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.film import footage
from cinejax.film.cropping import stated_margins
from cinejax.film.showing import resized, shown

_MIN_HEIGHT = 256  # pixels; `watchable_scale` enlarges smaller films


class VideoInfo(NamedTuple):
  height: int  # pixels
  width: int  # pixels
  fps: fractions.Fraction
  frames: int  # as the file states, 0 if it does not


def write_video(
  path: str | os.PathLike,
  frames: Iterable[np.ndarray],
  fps: float,
  scale: int = 1,
  quality: int = 18,
) -> None:
  """Writes an MP4, completely or not at all.

  Args:
    path: ends in .mp4.
    frames: uint8 [Y, X, 3] each, as an array video_TYXC or as an iterator, so
      that a long film does not have to fit in memory.
    fps: frames per second.
    scale: each pixel becomes scale x scale pixels, so that small films are
      large enough to watch; odd sizes repeat their last row or column.
    quality: H.264's constant rate factor, 0 (lossless) to 51.
  """
  frames = iter(frames)
  first = next(frames, None)
  if first is None:
    raise ValueError(f'a video without frames cannot be written to {path}')
  options = {'movflags': 'faststart'}
  with (
    atomic_path(path) as partial,
    av.open(str(partial), 'w', format='mp4', options=options) as container,
  ):
    rate = fractions.Fraction(fps).limit_denominator(1001)
    stream = container.add_stream('libx264', rate=rate)
    shape = _enlarge(first, scale).shape
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = 'yuv420p'
    stream.options = {'crf': str(quality)}
    _tag_bt709(stream.codec_context)
    for image in _chain(first, frames):
      frame = av.VideoFrame.from_ndarray(_enlarge(image, scale), 'rgb24')
      frame = frame.reformat(
        format='yuv420p',
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
      )
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def watchable_scale(height: int) -> int:
  """The `scale` of `write_video` for films that are `height` pixels high."""
  return -(-_MIN_HEIGHT // height)


def probe(path: str | os.PathLike) -> VideoInfo:
  """What the file states, in the size that is shown.

  Raises UserError if it holds no video.
  """
  with footage.open_video(path) as (container, stream):
    rate, frames = footage.frame_rate(stream), stream.frames
    frame = next(footage.frames(container, stream), None)
    if frame is None:
      return VideoInfo(stream.height, stream.width, rate, frames)
    image_YXC = _Screen(path, stream).show(frame)
    return VideoInfo(*image_YXC.shape[:2], rate, frames)


class TimedImage(NamedTuple):
  image_YXC: np.ndarray  # uint8, RGB
  start: fractions.Fraction  # seconds after the first frame
  stop: fractions.Fraction  # when the next frame replaces it


def read_timed(path: str | os.PathLike) -> Iterator[TimedImage]:
  """Yields every frame with the times at which it is shown.

  All frames have the size of the first one. Raises UserError for a file that
  is missing, broken, empty or truncated.
  """
  for timed, screen in _decoded(path):
    yield TimedImage(screen.show(timed.frame), timed.start, timed.stop)


def read_frames(
  path: str | os.PathLike,
  start: int = 0,
  stop: int | None = None,
  fps: float | None = None,
  crop: tuple[int, int, int, int] | None = None,
  size: tuple[int, int] | None = None,
) -> Iterator[np.ndarray]:
  """Yields uint8 [Y, X, 3] frames, one in memory at a time.

  Args:
    path: a video file that FFmpeg can read.
    start: first frame, counted in the file's own frames.
    stop: frame before which to stop; None: the end of the file.
    fps: frames per second to yield: frame k is what the file shows k / fps
      seconds after `start`. None: the rate of the file.
    crop: rows and columns to keep, (top, bottom, left, right), in pixels.
    size: (height, width) to resize to, after the crop.

  Raises:
    UserError: for a file that is missing, broken, empty, truncated, or
      smaller than `crop`.
  """
  decoded = yielded = 0
  origin = None  # when frame `start` is shown
  for timed, screen in _decoded(path):
    if stop is not None and decoded >= stop:
      return
    if decoded >= start:
      origin = timed.start if origin is None else origin
      repeats = 1
      if fps is not None:
        secs = timed.stop - origin
        repeats = math.ceil(secs * fractions.Fraction(fps)) - yielded
      if repeats > 0:
        image_YXC = _shape(screen.show(timed.frame), crop, size, path)
      for _ in range(repeats):
        yield image_YXC
        yielded += 1
    decoded += 1
  if not yielded:
    raise UserError(f'{path}: has {decoded} frames, none from {start} on')


class _Screen:
  """Shows the frames of a file in the size of the first one."""

  def __init__(self, path: str | os.PathLike, stream: av.VideoStream):
    self._name, self._stream = str(path), stream
    self._margins = stated_margins(path, stream)
    self._size: tuple[int, int] | None = None

  def show(self, frame: av.VideoFrame) -> np.ndarray:
    aspect = self._stream.sample_aspect_ratio
    image_YXC = shown(frame, aspect, self._name, self._margins)
    height, width = image_YXC.shape[:2]
    self._size = self._size or (height, width)
    if self._size == (height, width):
      return image_YXC
    return resized(image_YXC, self._size)


def _decoded(
  path: str | os.PathLike,
) -> Iterator[tuple[footage.TimedFrame, _Screen]]:
  with footage.open_video(path) as (container, stream):
    screen, decoded = _Screen(path, stream), 0
    for timed in footage.timed_frames(container, stream):
      yield timed, screen
      decoded += 1
    footage.check_complete(path, container, stream, decoded)


def encode_frame(
  frame_YXC: np.ndarray, image_format: str = 'jpeg', quality: int = 90
) -> bytes:
  """A uint8 RGB frame as the bytes of a jpeg or webp file."""
  buffer = io.BytesIO()
  Image.fromarray(frame_YXC).save(buffer, image_format, quality=quality)
  return buffer.getvalue()


def save_image(path: str | os.PathLike, image: Image.Image) -> None:
  """Writes `image` in the format of the suffix, completely or not at all."""
  with atomic_path(path) as partial:
    image.save(partial)


def _shape(
  image_YXC: np.ndarray,
  crop: tuple[int, int, int, int] | None,
  size: tuple[int, int] | None,
  path: str | os.PathLike,
) -> np.ndarray:
  """The frame cropped and then resized."""
  if crop:
    top, bottom, left, right = crop
    height, width = image_YXC.shape[:2]
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
      raise UserError(
        f'{path}: {width}x{height} pixels, crop {crop} is outside'
      )
    image_YXC = image_YXC[top:bottom, left:right]
  if size:
    image_YXC = resized(image_YXC, size)
  return image_YXC


def _enlarge(image_YXC: np.ndarray, scale: int) -> np.ndarray:
  image_YXC = image_YXC.repeat(scale, 0).repeat(scale, 1)
  # 4:2:0 colour needs even sizes.
  odd = [(0, size % 2) for size in image_YXC.shape[:2]]
  return np.pad(image_YXC, (*odd, (0, 0)), mode='edge')


def _tag_bt709(codec: av.VideoCodecContext) -> None:
  # ITU-T H.273 numbers BT.709 as 1 in each of these.
  codec.colorspace = codec.color_primaries = codec.color_trc = 1
  codec.color_range = ColorRange.MPEG


def _chain(
  first: np.ndarray, rest: Iterator[np.ndarray]
) -> Iterator[np.ndarray]:
  yield first
  yield from rest
