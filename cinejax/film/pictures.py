"""Reads still pictures as upright, opaque 8-bit sRGB.

What a file says about how it is to be shown is applied: the orientation tag,
the colour profile (converted to sRGB), palettes and CMYK. Transparent parts
show BACKGROUND. Of an animation the first frame is read. Numbers of more than
8 bits are scaled by the range of their type: 16-bit greys by 65,535, floats as
0 to 1. A note on stderr says what changed the picture visibly.
"""

import contextlib
import io
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

from cinejax.core.errors import UserError
from cinejax.core.notes import note
from cinejax.film.texts import stand_in

BACKGROUND = (255, 255, 255)  # white, behind transparent pixels

_ALPHA = frozenset({'RGBA', 'LA', 'PA', 'La', 'RGBa'})
_HEIF = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')
_NARROW = 4  # pixels; a picture whose kept part is smaller is refused
_POSTSCRIPT = 'PostScript'
_SUBFILE, _REDUCED = 254, 1  # TIFF: what a picture is, and that it is a preview

# How files begin, in lower case, that Pillow does not read, and what they are.
_STARTS = (
  *(
    (start, f' that can be read, it is {kind}; export it as JPEG or PNG')
    for start, kind in (
      (b'\xff\x0a', 'JPEG XL'),
      (b'\0\0\0\x0cjxl ', 'JPEG XL'),
      (b'<?xml', 'SVG'),
      (b'<svg', 'SVG'),
      (b'%pdf', 'a PDF'),
      (b'%!ps', _POSTSCRIPT),
      (b'\x76\x2f\x31\x01', 'OpenEXR'),
      (b'#?', 'Radiance HDR'),
    )
  ),
  (b'\x1a\x65\xdf\xa3', ', it is a video; give one of its frames'),
)


def read_picture(
  source: str | os.PathLike | BinaryIO, name: str
) -> Image.Image:
  """The picture of a file in mode RGB.

  Args:
    source: a path, or a file that is open for reading bytes.
    name: how messages name the picture, such as `--image=a.png`.

  Raises:
    UserError: if it is missing, no picture, truncated, too large to decode
      safely, or has numbers whose range is not known.
  """
  with _problems_as_sentences(source, name):
    with warnings.catch_warnings():
      # Pillow warns from 89 million pixels on, and raises from twice that on.
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      image = Image.open(source)
    with image:
      _check_shown(image, name)
      if getattr(image, 'is_animated', False):
        note(f'{name} has {image.n_frames} frames; the first one is used')
      image.load()
      return _without_alpha(_in_srgb(_upright(image, name), name), name)


def fill_frame(
  image: Image.Image, height: int, width: int, name: str
) -> np.ndarray:
  """The picture as uint8 [Y, X, 3], scaled to fill a frame, cropped evenly.

  Raises UserError, which names the picture `name`, if too little is left.
  """
  kept_height = min(image.height, image.width * height / width)
  kept_width = min(image.width, image.height * width / height)
  if kept_height < _NARROW or kept_width < _NARROW:
    raise UserError(
      f'{name} of {image.width}x{image.height} pixels is too narrow for films '
      f'of {width}x{height}; give a larger one'
    )
  size = (width, height)
  return np.asarray(ImageOps.fit(image, size, Image.Resampling.LANCZOS))


@contextlib.contextmanager
def _problems_as_sentences(
  source: str | os.PathLike | BinaryIO, name: str
) -> Iterator[None]:
  try:
    yield
  except UserError:
    raise
  except Image.DecompressionBombError as error:
    raise UserError(
      f'{name} has more pixels than can be decoded safely; make it smaller'
    ) from error
  # Pillow's readers raise many kinds of errors for damaged files.
  except Exception as error:
    kind = _kind(source) or f' ({error}); give another file'
    raise UserError(f'{name} is no image{kind}') from error


def _check_shown(image: Image.Image, name: str) -> None:
  """Raises UserError for programs that draw, and for previews of raw files."""
  if image.format == 'EPS':  # Pillow would run Ghostscript
    raise UserError(
      f'{name} is {_POSTSCRIPT}, which is a program; export it as JPEG or PNG'
    )
  if getattr(image, 'tag_v2', {}).get(_SUBFILE, 0) & _REDUCED:
    raise UserError(
      f'{name} is a raw file of a camera, of which only a preview of '
      f'{image.width}x{image.height} pixels can be read; export it as JPEG or '
      'PNG'
    )


def _kind(source: str | os.PathLike | BinaryIO) -> str:
  """What a file that Pillow cannot read is, or '' if that is unknown."""
  try:
    if isinstance(source, (str, os.PathLike)):
      with pathlib.Path(source).open('rb') as file:
        start = file.read(64)
    else:
      source.seek(0)
      start = source.read(64)
  except (OSError, ValueError):
    return ''
  if kind := stand_in(start):
    return f', it is {kind}'
  if start[4:8] == b'ftyp':
    if start[8:12] in _HEIF:
      return ' that can be read, it is HEIF; export it as JPEG or PNG'
    return ', it is a video; give one of its frames'
  text = start.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
  return next((kind for first, kind in _STARTS if text.startswith(first)), '')


def _upright(image: Image.Image, name: str) -> Image.Image:
  """The picture turned as its orientation tag says, in 8 bits a number."""
  profile = image.info.get('icc_profile')
  # exif_transpose removes the tag and returns a copy.
  with contextlib.suppress(SyntaxError, ValueError, TypeError, KeyError):
    image = ImageOps.exif_transpose(image)  # a damaged tag turns nothing
  image = _eight_bits(image, name)
  if profile:
    image.info['icc_profile'] = profile
  return image


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
  """Modes of 16 or 32 bits as grey of 8 bits; other modes as they are."""
  if image.mode != 'F' and not image.mode.startswith('I'):
    return image
  value_YX = np.asarray(image, np.float64)
  low, high = value_YX.min(), value_YX.max()
  if not np.isfinite([low, high]).all():
    raise UserError(f'{name} has pixels that are not finite; give another file')
  if image.mode == 'F':
    most = 1.0 if high <= 1 else 255.0
  else:
    most = 65_535.0
  if high > most:
    raise UserError(
      f'{name} has pixels up to {high:g}, and white is {most:g}; rescale it'
    )
  grey_YX = np.round(np.clip(value_YX / most, 0, 1) * 255)
  grey = Image.fromarray(grey_YX.astype(np.uint8))
  if (transparent := image.info.get('transparency')) is not None:
    shows_YX = value_YX != transparent
    grey.putalpha(Image.fromarray(255 * shows_YX.astype(np.uint8)))
  return grey


def _in_srgb(image: Image.Image, name: str) -> Image.Image:
  """The picture in RGB or RGBA, converted from its colour profile."""
  profile = image.info.get('icc_profile')
  alpha = None
  if image.mode in _ALPHA or 'transparency' in image.info:
    image = image.convert('RGBA')
    alpha = image.getchannel('A')
  elif image.mode == 'LAB' and not profile:
    lab = ImageCms.createProfile('LAB')
    return ImageCms.profileToProfile(image, lab, _srgb(), outputMode='RGB')
  elif image.mode not in ('RGB', 'L', 'CMYK', 'LAB'):
    image = image.convert('RGB')
  rgb = _converted(image, profile, name) if profile else image
  rgb = rgb.convert('RGB')
  if alpha:
    rgb.putalpha(alpha)
  return rgb


def _converted(image: Image.Image, profile: bytes, name: str) -> Image.Image:
  if image.mode == 'RGBA':
    image = image.convert('RGB')
  try:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if 'srgb' in ImageCms.getProfileDescription(source).lower():
      return image
    if source.profile.xcolor_space.strip() == 'GRAY':
      image = image.convert('L')
    return ImageCms.profileToProfile(image, source, _srgb(), outputMode='RGB')
  except (ImageCms.PyCMSError, OSError, ValueError) as error:
    note(f'{name}: its colour profile cannot be used ({error})')
    return image


def _srgb() -> ImageCms.ImageCmsProfile:
  return ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB'))


def _without_alpha(image: Image.Image, name: str) -> Image.Image:
  if image.mode != 'RGBA':
    return image
  if image.getchannel('A').getextrema()[0] < 255:
    note(f'{name} has transparent parts; they are shown on white')
  page = Image.new('RGBA', image.size, (*BACKGROUND, 255))
  return Image.alpha_composite(page, image).convert('RGB')
