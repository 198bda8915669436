"""The crop that a container states is applied; a damaged one is ignored."""

import fractions
import struct

import av
import numpy as np
import pytest

from cinejax.film import cropping, media

HEIGHT, WIDTH = 32, 48
KEPT = (slice(6, 30), slice(4, 40))  # rows and columns that are shown


def _picture():
  """Coarse noise, so that a crop that is off by a few pixels differs."""
  cells = np.random.default_rng(0).integers(0, 255, (16, 24, 1), np.uint8)
  return cells.repeat(2, 0).repeat(2, 1).repeat(3, 2)


def _write(path, aspect=1, **colours):
  with av.open(str(path), 'w') as container:
    if path.suffix == '.mp4':  # the crop is that of the second stream
      sound = container.add_stream('aac', rate=8000, layout='mono')
    stream = container.add_stream('libx264', rate=8, options={'qp': '0'})
    stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, 'yuv420p'
    stream.codec_context.sample_aspect_ratio = fractions.Fraction(aspect)
    for name, value in colours.items():
      setattr(stream.codec_context, name, value)
    for _ in range(3):
      frame = av.VideoFrame.from_ndarray(_picture(), 'rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    if path.suffix == '.mp4':
      container.mux(sound.encode(None))
  return path


def _with_clap(path, numbers):
  """Inserts a `clap` box, whose parents grow; the pictures come before them."""
  data = bytearray(path.read_bytes())
  assert data.index(b'mdat') < data.index(b'moov')
  boxes = data.index(b'moov')
  end = data.index(b'avc1', boxes) - 4
  end += int.from_bytes(data[end : end + 4], 'big')
  box = struct.pack('>I4s8i', 40, b'clap', *numbers)
  track = data.index(b'vide', boxes)  # the handler of the video track
  for kind in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stsd', b'avc1'):
    before = kind in (b'moov', b'trak', b'mdia')
    at = data.rindex(kind, 0, track) if before else data.index(kind, track)
    size = int.from_bytes(data[at - 4 : at], 'big')
    data[at - 4 : at] = struct.pack('>I', size + len(box))
  data[end:end] = box
  path.write_bytes(data)
  return path


def _with_pixel_crop(path, top, bottom, left, right):
  """Replaces the colours of the track by its crop and padding."""
  data = bytearray(path.read_bytes())
  at = data.index(b'\x55\xb0')
  room = 3 + (data[at + 2] & 0x7F)
  crop = b''.join(
    identifier + bytes([0x81, size])
    for identifier, size in (
      (b'\x54\xbb', top),
      (b'\x54\xaa', bottom),
      (b'\x54\xcc', left),
      (b'\x54\xdd', right),
    )
  )
  padding = room - len(crop) - 2
  assert padding >= 0
  data[at : at + room] = crop + bytes([0xEC, 0x80 | padding, *[0] * padding])
  path.write_bytes(data)
  return path


def _check(path, want):
  found = next(media.read_frames(path))
  assert found.shape == want.shape
  assert np.abs(found.astype(int) - want).mean() < 12
  assert media.probe(path)[:2] == want.shape[:2]


def test_a_clean_aperture(tmp_path):
  # 36 of 48 columns, their middle 2 to the left; 24 of 32 rows, 2 downwards
  path = _with_clap(_write(tmp_path / 'a.mp4'), (36, 1, 24, 1, -4, 2, 4, 2))
  _check(path, _picture()[KEPT])


def test_a_crop_in_matroska(tmp_path):
  path = _write(
    tmp_path / 'a.mkv',
    color_primaries=1,
    color_trc=1,
    colorspace=1,
    color_range=1,
  )
  _check(_with_pixel_crop(path, 6, 2, 4, 8), _picture()[KEPT])


def test_pixels_become_square_after_the_crop(tmp_path):
  path = _with_clap(
    _write(tmp_path / 'a.mp4', aspect=2), (36, 1, 24, 1, -4, 2, 4, 2)
  )
  assert media.probe(path)[:2] == (24, 72)


@pytest.mark.parametrize(
  'numbers',
  [
    (36, 0, 24, 1, 0, 1, 0, 1),
    (0, 1, 24, 1, 0, 1, 0, 1),
    (96, 1, 24, 1, 0, 1, 0, 1),
    (36, 1, 24, 1, 900, 1, 0, 1),
  ],
)
def test_a_damaged_crop_is_ignored(tmp_path, numbers):
  path = _with_clap(_write(tmp_path / 'a.mp4'), numbers)
  _check(path, _picture())
  with av.open(str(path)) as container:
    (stream,) = container.streams.video
    assert cropping.stated_margins(path, stream) == cropping.NO_MARGINS


def test_boxes_that_end_early_are_ignored(tmp_path):
  whole = _with_clap(_write(tmp_path / 'a.mp4'), (36, 1, 24, 1, -4, 2, 4, 2))
  with av.open(str(whole)) as container:
    (stream,) = container.streams.video
    data = whole.read_bytes()
    for kind in (b'clap', b'tkhd'):
      at = data.index(kind) - 4
      for size in (8, 12, 24):
        broken = data[:at] + size.to_bytes(4, 'big') + data[at + 4 :]
        path = tmp_path / 'broken.mp4'
        path.write_bytes(broken)
        found = cropping.stated_margins(path, stream)
        assert found == cropping.NO_MARGINS, (kind, size)
