"""Finds the format of a file by its structure, and reads its films."""

import pathlib
import re
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
from cinejax.film.formats.parsing import Document, NoJson, parse_json
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

_YAML_SUFFIXES = ('.yaml', '.yml')
_YAML = re.compile(
  r'(\s|#.*\n)*'
  r'(---\s*\n|(- )?(segments|prompts?|scenes|shots?|title|seed) *:\s)'
)
_SUBTITLES = re.compile(
  r'\A\s*(WEBVTT\b|\[Script Info\])|^[\d:]+[.,]\d+ +--> +\d', re.MULTILINE
)
_OBJECT = re.compile(r'[\s\[]*\{\s*["\']?\w+["\']?\s*:')  # JSON, perhaps broken
_STORIES = ('.json', '.json5', '.jsonl')  # suffixes of files in a folder


def read_file(path: pathlib.Path) -> list[Located]:
  """The documents of the films of a file.

  Raises UserError if the file is no screenplay in any format.
  """
  text, suffix = read_text(path), path.suffix.lower()
  if suffix in ('.csv', '.tsv'):
    return shotstream.read_index(path, text)
  rows = [
    (f'{path} line {number}', line) for number, line in numbered_lines(text)
  ]
  if suffix in ('.json', '.json5'):
    return _json_films(text, rows, str(path))
  if suffix in ('.jsonl', '.ndjson'):
    return _line_films(text, rows, str(path))
  _check_other(path, text)
  if holocine.is_text(text):
    return [(str(path), film) for film in holocine.read_text(text, str(path))]
  if rows and all(minwm.is_moves(line) for _, line in rows):
    raise UserError(
      f"{path}: holds minWM's moves of the camera and no captions; give the "
      'file of captions'
    )
  if text.lstrip().startswith(('{', '[')):
    try:
      return _json_films(text, rows, str(path))
    except NoJson:
      if _OBJECT.match(text):
        raise
  return [(where, prompt_lists.plain_prompt(line)) for where, line in rows]


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


def _json_films(
  text: str, rows: list[tuple[str, str]], where: str
) -> list[Located]:
  """The films of JSON, or of JSON Lines under a name of JSON.

  Raises NoJson if the text is neither.
  """
  try:
    value = parse_json(text, where)
  except NoJson as error:
    return _rows(_values(rows, error), where)
  return documents(value, where)


def _line_films(
  text: str, rows: list[tuple[str, str]], where: str
) -> list[Located]:
  """The films of JSON Lines, or of JSON of several lines under that name."""
  try:
    values = _values(rows)
  except NoJson as error:
    try:
      value = parse_json(text, where)
    except NoJson:
      raise error from None
    return documents(value, where)
  return _rows(values, where)


def _values(
  rows: list[tuple[str, str]], instead: NoJson | None = None
) -> list[tuple[str, Any]]:
  """The values of lines. `instead` is raised if the first line has none."""
  values = []
  for where, line in rows:
    try:
      values.append((where, parse_json(line, where)))
    except NoJson:
      if values or instead is None:
        raise
      raise instead from None
  return values


def _check_other(path: pathlib.Path, text: str) -> None:
  """Raises UserError for a text that is known to be no list of prompts."""
  if _SUBTITLES.search(text):
    raise UserError(
      f'{path}: holds subtitles; give a prompt a line, or a screenplay in JSON'
    )
  if path.suffix.lower() in _YAML_SUFFIXES or _YAML.match(text):
    raise UserError(f'{path}: is YAML; write the screenplay as JSON')
  if text.lstrip().startswith('<?xml'):
    raise UserError(f'{path}: is XML; write the screenplay as JSON')


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
  return sorted(entry for entry in path.iterdir() if entry.is_dir())
