"""Decodes video files: which stream, which frames, and when each is shown.

Times are those that the container gives, from the first frame on, so that
variable rates, edit lists and streams that start late come out right. Time
stamps are rounded to ticks (often 1 ms), and therefore a frame that is within a
tick of `index / rate` is shown at exactly that time.
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av

from cinejax.core.errors import UserError
from cinejax.core.notes import note
from cinejax.film.texts import stand_in

# FFmpeg's own decoders of WebM's codecs do not read its alpha
_ALPHA_DECODERS = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}
_COVER = 0x400 | 0x800 | 0x1000  # FFmpeg: attached picture, thumbnails, still
_DEFAULT = 0x1  # FFmpeg: the stream to play
_BACKWARDS = 1  # seconds; time stamps that go back further start again

# A file that ends in the middle is truncated if it has fewer frames than this
# share of its stated length, which is rounded.
_COMPLETE = 0.9


class TimedFrame(NamedTuple):
  index: int  # from 0
  frame: av.VideoFrame
  start: Fraction  # seconds after the first frame
  stop: Fraction  # when the next frame replaces it


@contextlib.contextmanager
def open_video(
  path: str | os.PathLike,
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
  """Opens a file and chooses the stream that players show.

  Raises UserError if it cannot be read or holds no video; errors of decoding
  inside the block become UserErrors as well.
  """
  try:
    # Tags of files are often in other encodings than UTF-8.
    with av.open(str(path), metadata_errors='replace') as container:
      stream = _stream(container, path)
      if not frame_rate(stream):
        raise UserError(f'{path}: states no frame rate, so it has no frames')
      stream.thread_type = 'AUTO'
      yield container, stream
  except av.error.FFmpegError as error:
    if kind := _stand_in(path):
      raise UserError(f'{path}: is {kind}') from error
    reason = error.strerror or error
    raise UserError(f'{path}: cannot be read as video ({reason})') from error


def frame_rate(stream: av.VideoStream) -> Fraction | None:
  """Frames per second, the mean of the file if it states one."""
  return stream.average_rate or stream.guessed_rate or stream.base_rate


def timed_frames(
  container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[TimedFrame]:
  """The frames with the times at which they are shown."""
  rate, constant = frame_rate(stream), True
  waiting: TimedFrame | None = None
  origin: Fraction | None = None
  for index, frame in enumerate(frames(container, stream)):
    ideal = index / Fraction(rate)
    if frame.pts is None:
      start = waiting.start + 1 / Fraction(rate) if waiting else ideal
    else:
      stamp = frame.pts * frame.time_base
      origin = stamp if origin is None else origin
      if waiting and stamp - origin < waiting.start - _BACKWARDS:
        origin = stamp - waiting.start - 1 / Fraction(rate)
      start = _unrounded(stamp - origin, ideal, frame.time_base, rate)
    if waiting:
      start = max(start, waiting.start)
      yield waiting._replace(stop=start)
    constant &= start == ideal
    waiting = TimedFrame(index, frame, start, start + 1 / Fraction(rate))
  if waiting:
    frame = waiting.frame
    if not constant and frame.duration:
      stop = waiting.start + frame.duration * frame.time_base
      waiting = waiting._replace(stop=stop)
    yield waiting


def check_complete(
  path: str | os.PathLike,
  container: av.container.InputContainer,
  stream: av.VideoStream,
  decoded: int,
) -> None:
  """Raises UserError if a file ends before its last frame.

  Stated lengths may be wrong, or be those of the sound, so that a file with
  fewer frames is truncated only if it also ends inside one of its own parts.
  """
  stated = _stated_frames(container, stream)
  if decoded < _COMPLETE * stated and _ends_inside(path):
    raise UserError(f'{path}: ends at frame {decoded} of {stated}; truncated?')


def frames(
  container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
  """The decoded frames, with their alpha."""
  name = _ALPHA_DECODERS.get(stream.codec_context.name)
  if not name or stream.metadata.get('alpha_mode') != '1':
    yield from container.decode(stream)
    return
  try:
    decoder = av.CodecContext.create(name, 'r')
  except av.codec.codec.UnknownCodecError:  # FFmpeg was built without it
    note(f'{container.name}: its alpha cannot be decoded; it is left out')
    yield from container.decode(stream)
    return
  for packet in container.demux(stream):
    yield from decoder.decode(packet if packet.size else None)


def _stand_in(path: str | os.PathLike) -> str:
  try:
    with open(path, 'rb') as file:
      return stand_in(file.read(64))
  except OSError:
    return ''


def _stream(
  container: av.container.InputContainer, path: str | os.PathLike
) -> av.VideoStream:
  streams = [s for s in container.streams.video if not s.disposition & _COVER]
  if not streams:
    raise UserError(f'{path}: holds no video')
  # FFmpeg has no decoder for a few codecs, nor for those that it cannot name.
  decodable = [s for s in streams if s.codec_context is not None]
  if not decodable:
    raise UserError(
      f'{path}: its video is in a codec that FFmpeg does not decode; convert '
      'it to H.264'
    )
  default = [s for s in decodable if s.disposition & _DEFAULT]
  chosen = (default or decodable)[0]
  if len(streams) > 1:
    note(
      f'{path} has {len(streams)} video streams; stream {chosen.index} is used'
    )
  return chosen


def _unrounded(
  time: Fraction, ideal: Fraction, tick: Fraction, rate: Fraction
) -> Fraction:
  if abs(time - ideal) < tick:
    return ideal
  # Short ticks round by half a tick; long ones are the frames themselves.
  return time - tick / 2 if tick * rate < Fraction(1, 8) else time


def _stated_frames(
  container: av.container.InputContainer, stream: av.VideoStream
) -> int:
  """The frames that the file states, or that follow from its length."""
  if stream.frames:
    return stream.frames
  rate = frame_rate(stream)
  if stream.duration:
    return int(stream.duration * stream.time_base * rate)
  return int((container.duration or 0) / av.time_base * rate)


def _ends_inside(path: str | os.PathLike) -> bool:
  """Whether an MP4, Matroska or RIFF file is shorter than its parts say."""
  length = os.path.getsize(path)
  with open(path, 'rb') as file:
    start = file.read(12)
    if start[:4] == b'\x1aE\xdf\xa3':
      return _matroska_end(start + file.read(100)) > length
    if start[:4] == b'RIFF':
      return 8 + int.from_bytes(start[4:8], 'little') > length
    at = 0
    if start[4:8] not in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip'):
      return False
    while at + 8 <= length:
      file.seek(at)
      size = int.from_bytes(file.read(4), 'big')
      kind = file.read(4)
      if size == 1:
        (size,) = struct.unpack('>Q', file.read(8).rjust(8, b'\0'))
      if size < 8 or not kind.isascii():
        return False  # 0: to the end of the file
      at += size
  return at > length


def _matroska_end(start: bytes) -> int:
  """Where the segment of a Matroska file ends; 0 if it does not say."""
  at = start.find(b'\x18\x53\x80\x67') + 4
  if at < 4 or at >= len(start):
    return 0
  octets = 9 - start[at].bit_length()
  size = int.from_bytes(start[at : at + octets], 'big')
  size &= (1 << 7 * octets) - 1
  unknown = size == (1 << 7 * octets) - 1
  return 0 if unknown else at + octets + size
