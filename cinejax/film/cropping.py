"""The crop that a container states: `clap` of MP4, `PixelCrop` of Matroska.

Both say which part of a decoded picture is shown, besides the crop of the
codec, which the decoder applies. PyAV gives no access to this side data of a
stream, so that it is read from the file. In MP4 a picture of `width` keeps
`clean` columns, whose middle is `offset` to the right of its own middle:

    left = offset + (width - clean) / 2,   right = width - clean - left     (1)

and rows likewise; all are fractions (ISO/IEC 14496-12, clean aperture).
Matroska states the four margins of a track (RFC 9559, section 5.1.4.1.28).
"""

import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import av

_ENTRY = 78  # bytes of a visual sample entry of MP4 before its boxes

# identifiers of Matroska
_EBML = b'\x1a\x45\xdf\xa3'
_SEGMENT, _TRACKS, _TRACK = b'\x18\x53\x80\x67', b'\x16\x54\xae\x6b', b'\xae'
_TYPE, _VIDEO = b'\x83', b'\xe0'
_SIDES = (b'\x54\xbb', b'\x54\xaa', b'\x54\xcc', b'\x54\xdd')
_IS_VIDEO = 1  # of a track's type


class Margins(NamedTuple):
  """Rows and columns at the sides of a picture that are not shown."""

  top: int = 0
  bottom: int = 0
  left: int = 0
  right: int = 0


NO_MARGINS = Margins()


class _Part(NamedTuple):
  """The content of a box of MP4 or of an element of Matroska."""

  kind: bytes
  start: int
  stop: int


def stated_margins(path: str | os.PathLike, stream: av.VideoStream) -> Margins:
  """What the file crops from the pictures of `stream`.

  Crops that are damaged, or that leave nothing of a picture, are ignored.
  """
  try:
    with open(path, 'rb') as file:
      whole = _Part(b'', 0, os.path.getsize(path))
      matroska = file.read(4) == _EBML
      read = _matroska_margins if matroska else _clean_aperture
      found = read(file, whole, stream) or NO_MARGINS
  except (OSError, ValueError, IndexError, struct.error, ArithmeticError):
    return NO_MARGINS  # damaged
  rows = stream.height - found.top - found.bottom
  columns = stream.width - found.left - found.right
  keeps_some = min(found) >= 0 and rows > 0 and columns > 0
  return found if keeps_some else NO_MARGINS


def _clean_aperture(
  file: BinaryIO, whole: _Part, stream: av.VideoStream
) -> Margins | None:
  """Eq. (1), of the track that has the stream's number."""
  tracks = _within(_boxes, file, [whole], b'', b'moov')
  for track in (part for part in tracks if part.kind == b'trak'):
    parts = list(_boxes(file, track))
    if _track_number(file, parts) != stream.id:
      continue
    tables = _within(_boxes, file, parts, b'mdia', b'minf', b'stbl')
    for table in (part for part in tables if part.kind == b'stsd'):
      # a version and a count come before the entries; the first one is used
      for entry in _boxes(file, table._replace(start=table.start + 8)):
        inside = entry._replace(start=entry.start + _ENTRY)
        for part in _boxes(file, inside):
          if part.kind == b'clap':
            return _margins(_read(file, part)[:32], stream)
        break
  return None


def _margins(clap: bytes, stream: av.VideoStream) -> Margins:
  """Eq. (1) from the eight numbers of a `clap`."""
  clean_width, clean_height, x_offset, y_offset = (
    Fraction(*pair) for pair in struct.iter_unpack('>ii', clap)
  )
  top, bottom = _sides(stream.height, clean_height, y_offset)
  left, right = _sides(stream.width, clean_width, x_offset)
  return Margins(top, bottom, left, right)


def _sides(size: int, clean: Fraction, offset: Fraction) -> tuple[int, int]:
  before = round(offset + (size - clean) / 2)
  return before, size - round(clean) - before


def _track_number(file: BinaryIO, parts: list[_Part]) -> int | None:
  for part in parts:
    if part.kind == b'tkhd':
      header = _read(file, part)
      at = 20 if header[0] else 12  # after two dates, of 64 or of 32 bits
      return struct.unpack_from('>I', header, at)[0]
  return None


def _matroska_margins(
  file: BinaryIO, whole: _Part, stream: av.VideoStream
) -> Margins | None:
  """The margins of the video track that is as far from the first one."""
  number = stream.container.streams.video.index(stream)
  tracks = _within(_elements, file, [whole], b'', _SEGMENT, _TRACKS)
  for track in (part for part in tracks if part.kind == _TRACK):
    parts = list(_elements(file, track))
    if not any(
      part.kind == _TYPE and _number(file, part) == _IS_VIDEO for part in parts
    ):
      continue
    if number:
      number -= 1
      continue
    found = {
      part.kind: _number(file, part)
      for part in _within(_elements, file, parts, _VIDEO)
      if part.kind in _SIDES
    }
    return Margins(*(found.get(side, 0) for side in _SIDES))
  return None


def _within(
  split: Callable[[BinaryIO, _Part], Iterator[_Part]],
  file: BinaryIO,
  parts: list[_Part],
  *kinds: bytes,
) -> list[_Part]:
  """The parts inside those of the first kind, in these of the second, etc."""
  for kind in kinds:
    of_kind = [part for part in parts if part.kind == kind]
    parts = [inner for part in of_kind for inner in split(file, part)]
  return parts


def _boxes(file: BinaryIO, outer: _Part) -> Iterator[_Part]:
  """The boxes of MP4 in a part of the file."""
  at = outer.start
  while at + 8 <= outer.stop:
    file.seek(at)
    size, kind = struct.unpack('>I4s', file.read(8))
    start = at + 8
    if size == 1:
      (size,) = struct.unpack('>Q', file.read(8))
      start += 8
    stop = at + size if size else outer.stop  # 0: up to the end
    if stop < start:
      return
    yield _Part(kind, start, min(stop, outer.stop))
    at = stop


def _elements(file: BinaryIO, outer: _Part) -> Iterator[_Part]:
  """The elements of Matroska in a part of the file."""
  at = outer.start
  while at + 2 <= outer.stop:
    file.seek(at)
    head = file.read(12)
    octets = 9 - head[0].bit_length()  # of the identifier
    length = head[octets:]
    if not length or octets > 4:
      return
    wide = 9 - length[0].bit_length()  # bytes of the size
    if wide > 8 or len(length) < wide:
      return
    limit = 1 << 7 * wide
    size = int.from_bytes(length[:wide], 'big') % limit
    start = at + octets + wide
    known = size < limit - 1  # all bits set: up to the end
    stop = start + size if known else outer.stop
    yield _Part(head[:octets], start, min(stop, outer.stop))
    at = stop


def _number(file: BinaryIO, part: _Part) -> int:
  return int.from_bytes(_read(file, part)[:8], 'big')


def _read(file: BinaryIO, part: _Part) -> bytes:
  """The first bytes of a part; those that are read here are short."""
  file.seek(part.start)
  return file.read(min(max(0, part.stop - part.start), 128))
