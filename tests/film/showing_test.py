"""Frames and clips become the pixels that a player shows."""

import fractions
import struct
import types

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from cinejax.film import media, showing
from tests.film import clips

RED, BLUE = (200, 30, 30), (30, 40, 200)


def _sides():
  """Red at the left, blue at the right, white at the top left."""
  image_YXC = np.empty((32, 48, 3), np.uint8)
  image_YXC[:, :24], image_YXC[:, 24:] = RED, BLUE
  image_YXC[:16, :16] = 255
  return image_YXC


@pytest.mark.parametrize(
  ('cells', 'mirror'),
  [
    ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    ((1, 0, 0, -1), lambda x: x[::-1]),
    ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
    ((0, -1, -1, 0), lambda x: x[::-1, ::-1].swapaxes(0, 1)),
  ],
)
def test_mirroring(cells, mirror):
  a, b, c, d = (cell * 2**16 for cell in cells)
  matrix = struct.pack('9i', a, b, 0, c, d, 0, 0, 0, 2**30)

  side_data = {av.sidedata.sidedata.Type.DISPLAYMATRIX: matrix}
  found = showing._turned(_sides(), types.SimpleNamespace(side_data=side_data))
  np.testing.assert_array_equal(found, mirror(_sides()))


@pytest.mark.parametrize(
  ('height', 'matrix'), [(64, Colorspace.ITU601), (720, Colorspace.ITU709)]
)
def test_untagged_colours_are_those_of_their_size(height, matrix):
  image_YXC = np.full((height, 64, 3), RED, np.uint8)
  frame = av.VideoFrame.from_ndarray(image_YXC, 'rgb24').reformat(
    format='yuv444p', dst_colorspace=matrix, dst_color_range=ColorRange.MPEG
  )
  frame.colorspace = 2  # unspecified
  np.testing.assert_allclose(showing.shown(frame, None, 'a')[9, 9], RED, atol=3)


def _pq(nits):
  """SMPTE ST 2084: luminance -> signal, 0 to 1."""
  power = (nits / 10_000) ** 0.1593017578125
  return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def _hdr_frame(signal, transfer):
  frame = av.VideoFrame(64, 64, 'yuv420p10le')
  for plane, value in zip(
    frame.planes, (64 + 876 * signal, 512, 512), strict=True
  ):
    samples = np.full(plane.buffer_size // 2, round(value), np.uint16)
    plane.update(samples.tobytes())
  frame.color_trc, frame.color_primaries, frame.colorspace = transfer, 9, 9
  frame.color_range = ColorRange.MPEG
  return frame


def test_hdr_is_converted_and_reported(capsys):
  white = showing.shown(_hdr_frame(_pq(203), 16), None, 'pq.mkv')[9, 9]
  grey = showing.shown(_hdr_frame(_pq(203 * 0.18), 16), None, 'pq.mkv')[9, 9]
  assert white.min() >= 250
  np.testing.assert_allclose(grey, 105, atol=25)
  hlg = showing.shown(_hdr_frame(0.75, 18), None, 'hlg.mov')[9, 9]
  assert hlg.min() >= 245
  note = capsys.readouterr().err
  assert note.count('pq.mkv is HDR') == note.count('hlg.mov is HDR') == 1


@pytest.mark.parametrize('primaries', [9, 12])  # BT.2020, Display P3
def test_wide_primaries_are_converted(primaries):
  """The same numbers are a more saturated red than in BT.709."""
  colours = [(180, 60, 60), (90, 90, 90)]
  found = []
  for colour in colours:
    frame = av.VideoFrame.from_ndarray(
      np.full((64, 64, 3), colour, np.uint8), 'rgb24'
    ).reformat(
      format='yuv444p',
      dst_colorspace=Colorspace.ITU709,
      dst_color_range=ColorRange.MPEG,
    )
    frame.color_primaries, frame.color_trc = primaries, 1
    found.append(showing.shown(frame, None, 'a')[9, 9].astype(int))
  red, grey = found
  assert red[0] > 200 and red[1] < 58
  np.testing.assert_allclose(grey, colours[1], atol=3)


def test_fields_are_not_mixed():
  image_YXC = np.zeros((9, 4, 3), np.uint8)
  image_YXC[1::2] = 255  # the other field shows another moment
  np.testing.assert_array_equal(showing._first_field(image_YXC), 0)


@pytest.mark.parametrize('degrees', [0, 90, 180, 270])
def test_rotation(tmp_path, degrees):
  path = clips.write(tmp_path / 'a.mp4', [_sides()] * 3, rotation=degrees)
  found = next(media.read_frames(path))
  want = np.rot90(_sides(), degrees // 90)
  assert found.shape == want.shape
  assert np.abs(found.astype(int) - want).mean() < 8
  assert media.probe(path)[:2] == want.shape[:2]


@pytest.mark.parametrize(
  ('aspect', 'size'), [((2, 1), (32, 96)), ((1, 2), (64, 48))]
)
def test_pixels_become_square(tmp_path, aspect, size):
  path = clips.write(
    tmp_path / 'a.mp4',
    [_sides()] * 3,
    sample_aspect_ratio=fractions.Fraction(*aspect),
  )
  found = next(media.read_frames(path))
  assert found.shape[:2] == size == media.probe(path)[:2]
  assert np.abs(found[-4, 4].astype(int) - RED).max() < 12


@pytest.mark.parametrize('matrix', [Colorspace.ITU601, Colorspace.ITU709])
@pytest.mark.parametrize('scale', [ColorRange.MPEG, ColorRange.JPEG])
def test_matrix_and_range(tmp_path, matrix, scale):
  path = clips.write(
    tmp_path / 'a.mp4',
    [_sides()] * 3,
    colorspace=matrix,
    color_range=scale,
  )
  found = next(media.read_frames(path))
  assert np.abs(found[-4, 4].astype(int) - RED).max() < 8
  assert np.abs(found[-4, -4].astype(int) - BLUE).max() < 8


@pytest.mark.parametrize(
  ('codec', 'pixels'),
  [
    ('libx264', 'yuv420p10le'),
    ('libx264', 'yuv422p'),
    ('ffv1', 'yuv444p12le'),
    ('ffv1', 'bgr0'),
  ],
)
def test_bits_and_samples(tmp_path, codec, pixels):
  path = tmp_path / ('a.mp4' if codec == 'libx264' else 'a.mkv')
  clips.write(path, [_sides()] * 3, codec=codec, pixels=pixels)
  found = next(media.read_frames(path)).astype(int)
  assert np.abs(found[-4, 4] - RED).max() < 8
  assert np.abs(found[-4, -4] - BLUE).max() < 8


@pytest.mark.parametrize(
  ('codec', 'pixels', 'name', 'error'),
  [
    ('qtrle', 'argb', 'a.mov', 0),
    ('prores_ks', 'yuva444p10le', 'a.mov', 3),
    ('libvpx-vp9', 'yuva420p', 'a.webm', 4),
    ('libvpx', 'yuva420p', 'a.webm', 4),
  ],
)
def test_transparent_clips_are_on_white_and_reported(
  tmp_path, capsys, codec, pixels, name, error
):
  rgba_YXC = np.zeros((32, 48, 4), np.uint8)
  rgba_YXC[:, 24:] = (*BLUE, 255)
  path = clips.write(
    tmp_path / name, [rgba_YXC] * 3, codec=codec, pixels=pixels
  )
  assert media.probe(path)[:2] == (32, 48)
  found = list(media.read_frames(path, fps=24))
  assert len(found) == 3
  assert found[0][9, 4].tolist() == [255] * 3
  np.testing.assert_allclose(found[2][9, 44], BLUE, atol=error)
  assert 'transparent parts' in capsys.readouterr().err


def test_an_interlaced_clip_is_reported(tmp_path, capsys):
  path = tmp_path / 'a.mp4'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(
      'libx264', rate=25, options={'x264-params': 'interlaced=1:qp=0'}
    )
    stream.height, stream.width, stream.pix_fmt = 64, 64, 'yuv420p'
    for number in range(4):
      image_YXC = clips.grey(number, 64, 64)
      image_YXC[1::2] = 250
      frame = av.VideoFrame.from_ndarray(image_YXC, 'rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  frames = list(media.read_frames(path))
  assert 'is interlaced' in capsys.readouterr().err
  assert max(int(frame.std()) for frame in frames) < 40
