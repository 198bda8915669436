"""What a file of weights really is, by its first bytes.

A download may leave an HTML page, a pointer of Git LFS or half a file under the
name of weights, and people rename formats. A file is therefore read by what it
holds, and what cannot be read is named.
"""

import pathlib

from cinejax.core.errors import UserError

_FIRST = 512  # bytes
_ZIP, _GGUF = b'PK\x03\x04', b'GGUF'


def kind_of(path: pathlib.Path) -> str:
  """The format of a file: safetensors, torch, gguf, or '' if it is unknown.

  Raises UserError if there is no such file, or it is known to be no weights.
  """
  if not path.is_file():
    raise UserError(f'there is no weights file {path}; check the path')
  size = path.stat().st_size
  with path.open('rb') as file:
    first = file.read(_FIRST)
  if first.startswith(_ZIP):
    return 'torch'
  if first.startswith(_GGUF):
    return 'gguf'
  if first[8:9] == b'{':
    _check_whole(path, int.from_bytes(first[:8], 'little'), size)
    return 'safetensors'
  if what := _what(first):
    raise UserError(f'{path} is {what}')
  return ''


def _what(first: bytes) -> str:
  """What a file that is no weights is, and what to do; '' if it is unknown."""
  text = first.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
  if not first:
    return 'an empty file; fetch it again'
  if text.startswith(b'version https://git-lfs'):
    return (
      'a pointer of Git LFS, not the weights; run `git lfs pull` where it was '
      'cloned, or fetch it with `hf download`'
    )
  if text.startswith((b'<!doctype html', b'<html', b'<head', b'<?xml')):
    return (
      'a web page, perhaps of an error or a login, not the weights; fetch it '
      'with `hf download`, or from the address of the file itself'
    )
  if text.startswith((b'{', b'[')):
    return 'a JSON text, not weights; give the file of the weights'
  if first.startswith((b'\x1f\x8b', b'7z\xbc\xaf', b'Rar!', b'\xfd7zXZ')):
    return 'a packed archive; unpack it and give the weights file in it'
  if not first.strip(b'\0'):
    return 'full of zeros, as if its download had stopped; fetch it again'
  if first.startswith(b'\x80') and first[1:2] in b'\x02\x03\x04\x05':
    return (
      'a pickle, perhaps of PyTorch before 1.6, which is not read because it '
      'could run any code; save it with PyTorch 1.6 or later, or as safetensors'
    )
  return ''


def _check_whole(path: pathlib.Path, header: int, size: int) -> None:
  if 8 + header > size:
    raise UserError(
      f'{path} is not a whole safetensors file: its header alone has '
      f'{8 + header} bytes, and the file {size}; fetch it again'
    )
