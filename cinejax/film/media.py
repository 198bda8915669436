"""Video files and image bytes.

Films are written as H.264, yuv420p, BT.709, which all browsers and players
show. Pixel frames are uint8 RGB. A file that is read is assumed to have a
constant frame rate: frame i is on screen from i / rate seconds on.
"""

import contextlib
import fractions
import io
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path

# A file is truncated if it has fewer frames than this share of its stated
# length, which is rounded and may be the length of the sound.
_COMPLETE = 0.9

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
  """What the file states; UserError if it holds no video."""
  with _open(path) as (_, stream):
    return VideoInfo(
      stream.height, stream.width, stream.average_rate, stream.frames
    )


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
  decoded, yielded = 0, 0
  with _open(path) as (container, stream):
    rate = stream.average_rate
    step = rate / fractions.Fraction(fps) if fps else fractions.Fraction(1)
    for frame in container.decode(stream):
      if stop is not None and decoded >= stop:
        return
      while start + int(yielded * step) == decoded:
        yield _shape(frame, crop, size, path)
        yielded += 1
      decoded += 1
    stated = _stated_frames(container, stream)
  if decoded < _COMPLETE * stated:
    raise UserError(f'{path}: ends at frame {decoded} of {stated}; truncated?')
  if not yielded:
    raise UserError(f'{path}: has {decoded} frames, none from {start} on')


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


@contextlib.contextmanager
def _open(
  path: str | os.PathLike,
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
  try:
    with av.open(str(path)) as container:
      if not container.streams.video:
        raise UserError(f'{path}: holds no video')
      stream = container.streams.video[0]
      if not stream.average_rate:
        raise UserError(f'{path}: states no frame rate, so it has no frames')
      stream.thread_type = 'AUTO'
      yield container, stream
  except av.error.FFmpegError as error:
    reason = error.strerror or error
    raise UserError(f'{path}: cannot be read as video ({reason})') from error


def _stated_frames(
  container: av.container.InputContainer, stream: av.VideoStream
) -> int:
  """The frames that the file states, or that follow from its length."""
  if stream.frames:
    return stream.frames
  if stream.duration:
    return int(stream.duration * stream.time_base * stream.average_rate)
  return int((container.duration or 0) / av.time_base * stream.average_rate)


def _shape(
  frame: av.VideoFrame,
  crop: tuple[int, int, int, int] | None,
  size: tuple[int, int] | None,
  path: str | os.PathLike,
) -> np.ndarray:
  """The frame as uint8 [Y, X, 3], cropped and then resized."""
  image_YXC = frame.to_ndarray(format='rgb24')
  if crop:
    top, bottom, left, right = crop
    height, width = image_YXC.shape[:2]
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
      raise UserError(
        f'{path}: {width}x{height} pixels, crop {crop} is outside'
      )
    image_YXC = image_YXC[top:bottom, left:right]
  if size:
    image = Image.fromarray(image_YXC)
    image_YXC = np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS))
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
