"""Reads text files of prompts and captions, however they are encoded.

UTF-8 and UTF-16 are read with and without a byte order mark, UTF-32 with one.
Only a line feed, a carriage return or both end a line: JSON strings and prompts
may hold U+2028 and the other separators that `str.splitlines` splits at.
"""

import codecs
import os
import pathlib
import unicodedata

from cinejax.core.errors import UserError

# UTF-32 first, because its mark begins with that of UTF-16.
_MARKS = (
  (codecs.BOM_UTF32_LE, 'utf-32'),
  (codecs.BOM_UTF32_BE, 'utf-32'),
  (codecs.BOM_UTF8, 'utf-8-sig'),
  (codecs.BOM_UTF16_LE, 'utf-16'),
  (codecs.BOM_UTF16_BE, 'utf-16'),
)
# what a download leaves in the place of any file
_STAND_INS = (
  (b'version https://git-lfs', 'a pointer of Git LFS; run git lfs pull'),
  (b'<!doctype html', 'a web page; download the file itself'),
  (b'<html', 'a web page; download the file itself'),
)
_KINDS = (
  *_STAND_INS,
  (b'\x89png', 'a picture; give a text file'),
  (b'\xff\xd8\xff', 'a picture; give a text file'),
  (b'pk\x03\x04', 'a ZIP archive; unpack it'),
  (b'\x1f\x8b', 'a gzip archive; unpack it'),
  (b'%pdf-', 'a PDF; give a text file'),
  (b'{\\rtf', 'rich text (RTF); save it as plain text'),
)


def read_text(path: str | os.PathLike) -> str:
  r"""The text of a file, whose lines end with '\n'.

  Raises UserError if the file cannot be read or is not text; it names pointers,
  web pages, pictures and archives as such.
  """
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise UserError(f'{path}: cannot be read as text ({error})') from error
  start = data[:64].lstrip().lower()
  for signature, kind in _KINDS:
    if start.startswith(signature):
      raise UserError(f'{path}: is {kind}')
  try:
    text = data.decode(_encoding(data))
  except UnicodeDecodeError as error:
    line = data.count(b'\n', 0, error.start) + 1
    raise UserError(
      f'{path} line {line}: cannot be read as text ({error}); save it as UTF-8'
    ) from error
  if '\0' in text:
    raise UserError(f'{path}: is not text, it holds bytes of zero')
  return text.replace('\r\n', '\n').replace('\r', '\n')


def stand_in(start: bytes) -> str:
  """What a download left in the place of a file that begins with `start`.

  '' if it seems to be the file itself.
  """
  if not start:
    return 'an empty file; download it again'
  text = start.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
  return next((kind for s, kind in _STAND_INS if text.startswith(s)), '')


def numbered_lines(text: str) -> list[tuple[int, str]]:
  """The lines that are not blank, with their numbers from 1."""
  lines = enumerate(text.split('\n'), 1)
  return [(number, line) for number, line in lines if line.strip()]


def composed(name: str) -> str:
  """A file's name in composed letters (NFC), with '/' between folders.

  macOS decomposes letters (NFD), so that a list of names and the names of the
  files may differ in their bytes.
  """
  name = unicodedata.normalize('NFC', name).replace('\\', '/')
  return name.removeprefix('./')


def json_kind(value: object) -> str:
  """What JSON calls a value, for messages."""
  match value:
    case None:
      return 'null'
    case bool():
      return str(value).lower()
    case int() | float():
      return f'the number {value}'
    case str():
      return 'text'
    case list():
      return 'a list'
  return 'an object'


def _encoding(data: bytes) -> str:
  for mark, encoding in _MARKS:
    if data.startswith(mark):
      return encoding
  # Most characters of prompts and all signs of JSON are below U+0100, so that
  # UTF-16 without a mark has zeros in half of its bytes.
  start = data[:512]
  if len(start) >= 4 and len(data) % 2 == 0:
    even, odd = start[::2].count(0), start[1::2].count(0)
    if odd > 0.3 * len(start) / 2 and not even:
      return 'utf-16-le'
    if even > 0.3 * len(start) / 2 and not odd:
      return 'utf-16-be'
  return 'utf-8'
