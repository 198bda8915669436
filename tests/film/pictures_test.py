"""Pictures of every kind become upright, opaque sRGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from cinejax.core.errors import UserError
from cinejax.film.pictures import read_picture

RED, GREEN, BLUE = (230, 20, 20), (20, 200, 40), (30, 40, 220)


def _chunk(kind, data):
  end = struct.pack('>I', zlib.crc32(kind + data))
  return struct.pack('>I', len(data)) + kind + data + end


def _picture(height=12, width=16):
  """Red at the left, blue at the right, a green first row."""
  picture_YXC = np.empty((height, width, 3), np.uint8)
  picture_YXC[:, : width // 2] = RED
  picture_YXC[:, width // 2 :] = BLUE
  picture_YXC[0] = GREEN
  return picture_YXC


def _read(tmp_path, image, suffix='png', **options):
  path = tmp_path / f'a.{suffix}'
  image.save(path, **options)
  found = read_picture(path, f'--image={path}')
  assert found.mode == 'RGB'
  return np.asarray(found)


def test_own_pictures_are_unchanged(tmp_path, capsys):
  picture_YXC = _picture()
  found = _read(tmp_path, Image.fromarray(picture_YXC))
  np.testing.assert_array_equal(found, picture_YXC)
  assert not capsys.readouterr().err


@pytest.mark.parametrize(
  ('tag', 'turn'),
  [
    (1, lambda x: x),
    (2, lambda x: x[:, ::-1]),
    (3, lambda x: x[::-1, ::-1]),
    (4, lambda x: x[::-1]),
    (5, lambda x: x.swapaxes(0, 1)),
    (6, lambda x: np.rot90(x, -1)),
    (7, lambda x: x[::-1, ::-1].swapaxes(0, 1)),
    (8, lambda x: np.rot90(x, 1)),
  ],
)
def test_orientation_tags_turn_the_picture(tmp_path, tag, turn):
  exif = Image.Exif()
  exif[0x0112] = tag
  found = _read(tmp_path, Image.fromarray(_picture()), exif=exif)
  np.testing.assert_array_equal(found, turn(_picture()))


def test_transparent_parts_are_white_and_reported(tmp_path, capsys):
  rgba_YXC = np.zeros((8, 8, 4), np.uint8)  # transparent black is garbage
  rgba_YXC[4:] = (*RED, 255)
  rgba_YXC[0] = (0, 0, 0, 128)
  found = _read(tmp_path, Image.fromarray(rgba_YXC))
  assert found[2, 2].tolist() == [255] * 3
  assert found[6, 6].tolist() == list(RED)
  np.testing.assert_allclose(found[0, 0], 127, atol=1)
  assert 'transparent parts; they are shown on white' in capsys.readouterr().err


@pytest.mark.parametrize('mode', ['P', 'L', 'LA', '1'])
def test_palettes_greys_and_their_transparency(tmp_path, mode):
  image = Image.fromarray(_picture()).convert('RGB').convert(mode)
  want = np.asarray(image.convert('RGB'))
  np.testing.assert_array_equal(_read(tmp_path, image), want)


def test_a_transparent_colour_of_a_palette_is_white(tmp_path):
  image = Image.new('P', (8, 8), 1)
  image.putpalette([0, 0, 0, *RED])
  image.paste(0, (0, 0, 4, 8))
  found = _read(tmp_path, image, transparency=0)
  assert found[0, 0].tolist() == [255] * 3
  assert found[0, 7].tolist() == list(RED)


def test_a_transparent_grey_of_sixteen_bits_is_white(tmp_path, capsys):
  path = tmp_path / 'a.png'
  rows = b''.join(b'\0' + struct.pack('>HH', 1000, 1001) for _ in range(2))
  path.write_bytes(
    b'\x89PNG\r\n\x1a\n'
    + _chunk(b'IHDR', struct.pack('>IIBBBBB', 2, 2, 16, 0, 0, 0, 0))
    + _chunk(b'tRNS', struct.pack('>H', 1000))
    + _chunk(b'IDAT', zlib.compress(rows))
    + _chunk(b'IEND', b'')
  )
  found = np.asarray(read_picture(path, 'a.png'))
  assert found[:, :, 0].tolist() == [[255, 4]] * 2
  assert 'a.png has transparent parts' in capsys.readouterr().err


def test_the_preview_of_a_raw_file_is_not_the_picture(tmp_path):
  image = Image.fromarray(_picture())
  with pytest.raises(UserError, match='only a preview of 16x12 pixels'):
    _read(tmp_path, image, 'tif', tiffinfo={254: 1})
  _read(tmp_path, image, 'tif', tiffinfo={254: 2})  # a page of several


def test_sixteen_bits_keep_their_greys(tmp_path):
  grey_YX = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
  found = _read(tmp_path, Image.fromarray(grey_YX))
  want = np.round(grey_YX / 257)
  np.testing.assert_allclose(found[..., 1], want, atol=1)


def test_floats_are_shares_of_white(tmp_path):
  grey_YX = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
  found = _read(tmp_path, Image.fromarray(grey_YX), 'tiff')
  np.testing.assert_allclose(found[..., 0], grey_YX * 255, atol=0.51)
  for wrong, message in ((np.nan, 'not finite'), (1e4, 'up to 10000')):
    grey_YX[0, 0] = wrong
    with pytest.raises(UserError, match=message):
      _read(tmp_path, Image.fromarray(grey_YX), 'tiff')


def test_cmyk_is_shown_in_its_colours(tmp_path):
  image = Image.fromarray(_picture()).convert('CMYK')
  found = _read(tmp_path, image, 'jpg', quality=98)
  np.testing.assert_allclose(found[8, 2], RED, atol=12)


def test_lab_is_shown_in_its_colours(tmp_path):
  cells = [(255, 128, 128), (0, 128, 128), (137, 128, 128)]  # L, a and b
  image = Image.new('LAB', (3, 1))
  image.putdata(cells)
  (found,) = _read(tmp_path, image, 'tiff')
  np.testing.assert_allclose(found, [[255] * 3, [0] * 3, [128] * 3], atol=3)


def test_profiles_are_converted_to_srgb(tmp_path):
  """A profile with the primaries of sRGB swapped shows other colours."""
  srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  swapped = bytearray(srgb.replace(b'sRGB', b'rgbs'))
  swapped = swapped.replace(
    'sRGB'.encode('utf-16-be'), 'swap'.encode('utf-16-be')
  )
  red, blue = swapped.index(b'rXYZ'), swapped.index(b'bXYZ')
  swapped[red : red + 4], swapped[blue : blue + 4] = b'bXYZ', b'rXYZ'
  image = Image.fromarray(_picture())
  found = _read(tmp_path, image, icc_profile=bytes(swapped))
  assert found[8, 2].argmax() == 2 and found[8, 14].argmax() == 0
  found = _read(tmp_path, image, icc_profile=srgb)
  np.testing.assert_array_equal(found, _picture())


def test_a_broken_profile_is_reported_and_ignored(tmp_path, capsys):
  found = _read(tmp_path, Image.fromarray(_picture()), icc_profile=b'x' * 200)
  np.testing.assert_array_equal(found, _picture())
  assert 'colour profile cannot be used' in capsys.readouterr().err


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp'])
def test_the_first_frame_of_an_animation(tmp_path, suffix, capsys):
  first, other = (Image.new('RGB', (16, 16), colour) for colour in (RED, BLUE))
  lossless = {'lossless': True} if suffix == 'webp' else {}
  found = _read(
    tmp_path, first, suffix, save_all=True, append_images=[other], **lossless
  )
  np.testing.assert_allclose(found[8, 8], RED, atol=2)
  assert 'has 2 frames; the first one is used' in capsys.readouterr().err


def test_a_bomb_is_a_sentence(tmp_path):
  path = tmp_path / 'bomb.png'
  header = struct.pack('>IIBBBBB', 20_000, 20_000, 8, 2, 0, 0, 0)
  path.write_bytes(
    b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', header) + _chunk(b'IDAT', b'x')
  )
  with pytest.raises(UserError, match=r'bomb\.png has more pixels'):
    read_picture(path, str(path))


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'', 'no image, it is an empty file'),
    (b'\0\0\0\x18ftypheic' + bytes(40), 'it is HEIF; export it'),
    (b'\xff\x0a' + bytes(40), 'it is JPEG XL; export it'),
    (b'\0\0\0\x0cJXL \r\n\x87\n', 'it is JPEG XL; export it'),
    (b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', 'it is SVG; export it'),
    (b'\0\0\0\x18ftypisom' + bytes(40), 'it is a video'),
    (b'\x1aE\xdf\xa3' + bytes(40), 'it is a video'),
    (
      b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n',
      'is PostScript, which is a program; export it',
    ),
    (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    (b'<!DOCTYPE html><html>', 'it is a web page'),
    (bytes(200), r'a\.png is no image'),
  ],
)
def test_what_is_no_picture_is_named(tmp_path, data, message):
  (tmp_path / 'a.png').write_bytes(data)
  with pytest.raises(UserError, match=message):
    read_picture(tmp_path / 'a.png', 'a.png')


def test_a_truncated_picture_is_refused_from_a_file_or_from_bytes():
  noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(noise).save(buffer, 'jpeg')
  read_picture(io.BytesIO(buffer.getvalue()), 'the opening')
  with pytest.raises(UserError, match=r'the opening is no image .*truncated'):
    read_picture(io.BytesIO(buffer.getvalue()[:1500]), 'the opening')
