"""The cast of a film: given pictures of its characters.

A screenplay names them in its field `cast`,

  "cast": {"Ada": "ada.png", "Ben": ["front.jpg", "side.jpg"]}

A picture is the path of a file, relative to the screenplay, or a data URL
(`data:image/png;base64,...`), which holds the file itself.
"""

import base64
import binascii
import io
import os
import pathlib
import re
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.film.pictures import fill_frame, read_picture

_MAX_NAME_CHARS = 100
_DATA_URL = re.compile(r'data:image/[\w.+-]+;base64,(?P<data>.*)', re.DOTALL)


class CastPicture(NamedTuple):
  """One picture of a character."""

  name: str  # of the character, as prompts write it
  picture: str  # a path or a data URL

  @property
  def embedded(self) -> bool:
    """Whether the picture is a data URL."""
    return self.picture.startswith('data:')

  @property
  def location(self) -> str:
    """How messages name the picture."""
    return f'cast {self.name}={reprlib.repr(self.picture)[1:-1]}'

  def read(self) -> Image.Image:
    """The picture in mode RGB; UserError if it cannot be read."""
    if not self.embedded:
      return read_picture(self.picture, self.location)
    match = _DATA_URL.fullmatch(self.picture)
    if match is None:
      raise UserError(
        f'{self.location} is no base64 data URL of an image; write '
        'data:image/png;base64, and the encoded file'
      )
    try:
      data = base64.b64decode(match['data'], validate=True)
    except binascii.Error as error:
      raise UserError(f'{self.location} is not base64 ({error})') from error
    return read_picture(io.BytesIO(data), self.location)

  def frame(self, height: int, width: int) -> np.ndarray:
    """The picture, cropped to a frame [Y, X, 3] of this size.

    Raises UserError if it cannot be read or is too narrow.
    """
    return fill_frame(self.read(), height, width, self.location)


def parse_cast(document: Any, where: str) -> tuple[CastPicture, ...]:
  """The pictures of the field `cast` of a screenplay, in its order.

  Raises UserError that names `where`, if it is anything else.
  """
  location = f'{where}: cast'
  if not isinstance(document, dict):
    raise UserError(
      f'{location} must be an object, not {reprlib.repr(document)}'
    )
  cast = []
  for name, value in document.items():
    check_name(name, location)
    pictures = [value] if isinstance(value, str) else value
    if not isinstance(pictures, list) or not pictures:
      raise UserError(f'{location}.{name} must be a picture or a list of them')
    for picture in pictures:
      if not isinstance(picture, str) or not picture:
        shown = reprlib.repr(picture)
        raise UserError(f'{location}.{name} has a picture {shown}; give a file')
      cast.append(CastPicture(name, picture))
  return tuple(cast)


def check_name(name: str, location: str) -> None:
  """Raises UserError for a name that no prompt could write."""
  if not name.strip() or len(name) > _MAX_NAME_CHARS:
    raise UserError(
      f'{location} has a name {reprlib.repr(name)}; a name has 1 to '
      f'{_MAX_NAME_CHARS} characters'
    )


def parse_flags(values: Iterable[str]) -> tuple[CastPicture, ...]:
  """The pictures of flags `--cast=NAME=FILE`; UserError for another form."""
  cast = []
  for value in values:
    name, separator, path = value.partition('=')
    if not separator or not path:
      raise UserError(f'--cast={value} must be NAME=FILE, such as Ada=ada.png')
    check_name(name, f'--cast={value}')
    cast.append(CastPicture(name, path))
  return tuple(cast)


def grouped(cast: Iterable[CastPicture]) -> tuple[CastPicture, ...]:
  """The pictures of one name after another, as a screenplay holds them."""
  return tuple(one for own in _by_name(cast).values() for one in own)


def cast_document(cast: Sequence[CastPicture]) -> dict[str, Any]:
  """The field `cast` from which `parse_cast` reads the same pictures.

  The pictures of one name are put together.
  """
  return {
    name: [one.picture for one in own] if len(own) > 1 else own[0].picture
    for name, own in _by_name(cast).items()
  }


def _by_name(cast: Iterable[CastPicture]) -> dict[str, list[CastPicture]]:
  found: dict[str, list[CastPicture]] = {}
  for one in cast:
    found.setdefault(one.name, []).append(one)
  return found


def embedded(one: CastPicture, height: int, width: int) -> CastPicture:
  """The picture as a data URL, cropped to a frame of this size.

  Raises UserError if it cannot be read or is too narrow.
  """
  frame_YXC = one.frame(height, width)
  file = io.BytesIO()
  Image.fromarray(frame_YXC).save(file, 'PNG')
  data = base64.b64encode(file.getvalue()).decode()
  return one._replace(picture=f'data:image/png;base64,{data}')


def beside(
  cast: Iterable[CastPicture], folder: str | os.PathLike
) -> tuple[CastPicture, ...]:
  """The pictures, with paths that are relative to `folder` made complete."""
  return tuple(
    one
    if one.embedded
    else one._replace(
      picture=os.path.abspath(pathlib.Path(folder, one.picture))
    )
    for one in cast
  )
