"""JSON and JSON5 of screenplays, and what all formats share."""

import functools
import json
import re
from collections.abc import Iterable
from typing import Any

from cinejax.core.errors import UserError
from cinejax.core.notes import note
from cinejax.film.texts import json_kind

Document = dict[str, Any]

PROMPT_SECS = 10.0  # of a prompt in formats without lengths, as in LongLive
FPS = 16  # of Wan 2.1, and of the formats that count its frames

_JSON5 = re.compile(
  r"""
    (?P<text>"(?:[^"\\]|\\.)*")
  | '(?P<single>(?:[^'\\]|\\.)*)'
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<comma>,)(?=(?:\s|//[^\n]*|/\*.*?\*/)*[\]}])
  | (?P<key>[A-Za-z_$][\w$]*)(?=\s*:)
  """,
  re.VERBOSE | re.DOTALL,
)


class NoJson(UserError):
  """A text that is not JSON."""


def parse_json(text: str, where: str) -> Any:
  """The value of JSON, or of JSON5 with comments, trailing commas, single
  quotes and bare keys. Of a key that occurs twice, the last value is taken,
  with a note.

  Raises NoJson if the text is neither.
  """
  hook = functools.partial(_object, where)
  try:
    return json.loads(text, object_pairs_hook=hook)
  except (ValueError, RecursionError) as error:
    json5 = _JSON5.sub(_as_json, text)
    try:
      return json.loads(json5, strict=False, object_pairs_hook=hook)
    except (ValueError, RecursionError):
      raise NoJson(f'{where}: is not JSON ({error})') from error


def _object(where: str, pairs: list[tuple[str, Any]]) -> Document:
  found = dict(pairs)
  if len(found) < len(pairs):
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    note(
      f'{where}: an object has {", ".join(twice)} twice; the last one is used'
    )
  return found


def text_list(value: Any, where: str) -> list[str]:
  """`value` if it is a list of texts, not empty; else raises UserError."""
  if not isinstance(value, list) or not value:
    raise UserError(f'{where} must be a list of texts, not {json_kind(value)}')
  for index, text in enumerate(value):
    if not isinstance(text, str):
      raise UserError(f'{where}[{index}] is {json_kind(text)}; it must be text')
  return value


def number(value: Any, where: str) -> float:
  """`value` if it is a number; else raises UserError."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise UserError(f'{where} is {json_kind(value)}; it must be a number')
  return value


def title(value: Any) -> str:
  """A name or number as a title."""
  return value if isinstance(value, str) else json.dumps(value)


def note_unused(where: str, project: str, names: Iterable[str]) -> None:
  """Names what a format says and a screenplay has no counterpart for."""
  names = sorted(set(names))
  if names:
    note(
      f'{where}: a screenplay has no counterpart of {", ".join(names)} '
      f'({project})'
    )


def _as_json(match: re.Match) -> str:
  if match['text']:
    return match['text'].replace('\\\n', '')
  if match['single'] is not None:
    inner = match['single'].replace("\\'", "'").replace('\\\n', '')
    return '"' + re.sub(r'(?<!\\)"', r'\\"', inner) + '"'
  if match['key']:
    return f'"{match["key"]}"'
  return ' '
