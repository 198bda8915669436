"""ShotStream (KlingAIResearch/ShotStream), and its index of films in CSV.

`{"global_caption": …, "shot1": …, "shot2": …}` with optional `frames_per_shot`
and `sample_id` or `idx`. Frames are at 16 fps, 81 a shot if nothing is said. A
row of the index names such a file (`json_path`) and the frames [start, end) of
each shot (`frame_number`); shots beyond these ranges are not used.
"""

import csv
import io
import pathlib
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.formats.parsing import (
  FPS,
  Document,
  note_unused,
  number,
  parse_json,
  title,
)
from cinejax.film.texts import read_text

_FRAMES = 81  # of a shot
_COLUMNS = frozenset({'json_path', 'frame_number'})


def matches(value: Any) -> bool:
  return isinstance(value, dict) and 'shot1' in value


def read(
  value: Document, where: str, frames: list[float] | None = None
) -> list[Document]:
  """The film; `frames` of each shot are those of an index."""
  shots = [key for key in value if key.startswith('shot') and key[4:].isdigit()]
  for shot in range(1, len(shots) + 1):
    if f'shot{shot}' not in value:
      raise UserError(f'{where}: shot{shot} is missing; number shots from 1')
  lengths = frames or value.get('frames_per_shot')
  if lengths is None:
    lengths = [_FRAMES] * len(shots)
  elif not isinstance(lengths, list) or (
    len(lengths) != len(shots) and not frames
  ):
    raise UserError(
      f'{where}: frames_per_shot has not one length for each of the '
      f'{len(shots)} shots'
    )
  if len(lengths) > len(shots):
    raise UserError(f'{where}: {len(lengths)} lengths for {len(shots)} shots')
  known = {*shots, 'global_caption', 'frames_per_shot', 'sample_id', 'idx'}
  note_unused(where, 'ShotStream', value.keys() - known)
  if len(lengths) < len(shots):
    note_unused(where, "ShotStream's index", shots[len(lengths) :])
  document: Document = {
    'global_prompt': value.get('global_caption', ''),
    'segments': [
      {
        'prompt': value[f'shot{shot}'],
        'secs': number(length, f'{where}: length of shot{shot}') / FPS,
      }
      for shot, length in enumerate(lengths, 1)
    ],
  }
  name = value.get('sample_id', value.get('idx'))
  if name is not None:
    document['title'] = title(name)
  return [document]


def read_index(path: pathlib.Path, text: str) -> list[tuple[str, Document]]:
  """The films of a CSV file, with where each was found.

  Raises UserError if it is another table.
  """
  # Spreadsheets write other separators too.
  tables = [csv.DictReader(io.StringIO(text), delimiter=d) for d in ',;\t']
  rows = next((t for t in tables if _COLUMNS <= set(t.fieldnames or ())), None)
  if rows is None:
    raise UserError(
      f'{path}: is a table (CSV) and no screenplay; of tables, only the index '
      'of ShotStream with json_path and frame_number is read'
    )
  found = []
  for row in rows:
    where = f'{path} line {rows.line_num}'
    file = _found(path, row['json_path'] or '', where)
    ranges = parse_json(row['frame_number'] or '', f'{where}: frame_number')
    frames = [_length(pair, where) for pair in _list(ranges, where)]
    value = parse_json(read_text(file), str(file))
    if not matches(value):
      raise UserError(f'{file}: has no shot1; {where} names it')
    found += [(where, film) for film in read(value, str(file), frames)]
  return found


def _found(index: pathlib.Path, name: str, where: str) -> pathlib.Path:
  """A path of an index, from its folder or one above it."""
  for folder in (
    index.parent,
    *index.absolute().parent.parents,
    pathlib.Path(),
  ):
    if (folder / name).is_file():
      return folder / name
  raise UserError(f'{where}: there is no file {name}; correct json_path')


def _list(ranges: Any, where: str) -> list[Any]:
  if not isinstance(ranges, list) or not ranges:
    raise UserError(f'{where}: frame_number is no list of [start, end)')
  return ranges


def _length(pair: Any, where: str) -> float:
  if not isinstance(pair, list) or len(pair) != 2:
    raise UserError(f'{where}: frame_number is no list of [start, end)')
  start, end = (number(edge, f'{where}: frame_number') for edge in pair)
  return end - start
