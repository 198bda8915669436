"""Finds the format of a file by its structure, and reads its films."""

import pathlib
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.formats import (
  fastvideo,
  holocine,
  longlive,
  minwm,
  prompt_lists,
  scope,
  shotstream,
  storymem,
)
from cinejax.film.formats.parsing import Document, parse_json
from cinejax.film.texts import numbered_lines, read_text

Located = tuple[str, Document]  # where a film was found, and the film

_FORMATS = (
  shotstream,
  storymem,
  scope,
  holocine,
  minwm,
  fastvideo,
  prompt_lists,
)


_STORIES = ('.json', '.json5', '.jsonl')  # suffixes of files in a folder


def read_file(path: pathlib.Path) -> list[Located]:
  """The documents of the films of a file.

  Raises UserError if the file is no screenplay in any format.
  """
  text, suffix = read_text(path), path.suffix.lower()
  if suffix in ('.csv', '.tsv'):
    return shotstream.read_index(path, text)
  if suffix in ('.json', '.json5'):
    return documents(parse_json(text, str(path)), str(path))
  rows = [
    (f'{path} line {number}', line) for number, line in numbered_lines(text)
  ]
  if suffix in ('.jsonl', '.ndjson'):
    return _rows([(w, parse_json(line, w)) for w, line in rows], str(path))
  if holocine.is_text(text):
    return [(str(path), film) for film in holocine.read_text(text, str(path))]
  if rows and all(minwm.is_moves(line) for _, line in rows):
    raise UserError(
      f"{path}: holds minWM's moves of the camera and no captions; give the "
      'file of captions'
    )
  return _json_text(text, rows, str(path)) or [
    (where, prompt_lists.plain_prompt(line)) for where, line in rows
  ]


def read_folder(path: pathlib.Path, chunks: int | None) -> list[Located]:
  """The films of shot folders, else of all screenplays in a folder.

  ST-Bench (Kevin-thu/StoryMem) is a folder of stories. Raises UserError if
  there are none.
  """
  children = [path, *_folders(path)]
  children += [inner for child in children[1:] for inner in _folders(child)]
  found: list[Located] = []
  for folder in children:
    if not longlive.is_shot_folder(folder):
      continue
    files = longlive.numbered(folder)
    first = parse_json(read_text(files[0]), str(files[0]))
    if any(form.matches(first) for form in _FORMATS):
      found += [film for file in files for film in read_file(file)]
    else:
      found.append((str(folder), longlive.shot_folder(folder, chunks)))
  if not found:
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in _STORIES)
    found = [film for file in files for film in read_file(file)]
  if not found:
    raise UserError(
      f'{path}: holds no screenplay: neither shots from 0.json on nor stories '
      f'in {", ".join(_STORIES)}'
    )
  return found


def documents(value: Any, where: str) -> list[Located]:
  """The documents of a JSON value; one of an unknown format as it is."""
  for form in _FORMATS:
    if not (isinstance(value, dict) and 'segments' in value) and form.matches(
      value
    ):
      films = form.read(value, where)
      several = len(films) > 1
      return [
        (f'{where}: film {index}' if several else where, film)
        for index, film in enumerate(films)
      ]
  return [(where, value)]


def _rows(rows: list[tuple[str, Any]], where: str) -> list[Located]:
  values = [value for _, value in rows]
  if fastvideo.is_session(values):
    return [(where, film) for film in fastvideo.read_session(values, where)]
  return [film for row, value in rows for film in documents(value, row)]


def _json_text(
  text: str, rows: list[tuple[str, str]], where: str
) -> list[Located]:
  """The films of JSON in a file with another suffix; [] if it is no JSON."""
  if not text.lstrip().startswith(('{', '[')):
    return []
  try:
    value = parse_json(text, where)
  except UserError:
    try:
      return _rows([(w, parse_json(line, w)) for w, line in rows], where)
    except UserError:
      return []
  return documents(value, where)


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
  return sorted(entry for entry in path.iterdir() if entry.is_dir())
