"""Questions about films, as MBench asks them, and their answers.

MBench (arXiv 2606.00793) asks a vision-language model about each generated
film, such as whether a jacket has its colour again. Its data are not part of
cinejax. A file is a JSON list of cases, or an object that holds one. A case is
an object with

  prompt     the text of the film; or prompts, a list with one segment each
  questions  anywhere inside it: objects with `question` and `answer`, and
             perhaps `dimension`, `category` or `type`

so that files that nest or name their lists differently are read as well. An
answer is right if it is the expected one; case and punctuation do not count,
and an expected answer of one word, such as "yes" or "B", need only be the
first word:

  right = share of the questions of a film that are answered right          (1)

and the same for the questions of each dimension.
"""

import pathlib
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.formats.parsing import PROMPT_SECS, parse_json
from cinejax.film.journal import Film
from cinejax.film.texts import json_kind, read_text

# (film, question) -> answer
AnswerFn = Callable[[pathlib.Path, str], str]

_PROMPTS = ('prompts', 'prompt', 'text_prompt', 'caption')
_DIMENSIONS = ('sub_dimension', 'dimension', 'category', 'type')
_ANSWER_SECS = 600  # after which the command is stopped


class Question(NamedTuple):
  """A question about a film."""

  text: str
  answer: str  # the expected one
  dimension: str = ''  # what it tests; '': the file does not say


class Case(NamedTuple):
  """A film to generate, and the questions about it."""

  film: Film
  questions: tuple[Question, ...]


def load(path: pathlib.Path) -> tuple[Case, ...]:
  """Reads the cases of a file.

  Raises UserError that names the case and the field, if it is no such file.
  """
  value = parse_json(read_text(path), str(path))
  if isinstance(value, dict):
    lists = [inner for inner in value.values() if isinstance(inner, list)]
    value = lists[0] if len(lists) == 1 else value
  if not isinstance(value, list) or not value:
    raise UserError(
      f'{path} is {json_kind(value)}; a file of questions is a list of cases'
    )
  return tuple(
    _case(entry, f'{path}: [{index}]') for index, entry in enumerate(value)
  )


def make_answer_fn(command: str) -> AnswerFn:
  """The function that runs `command` with a film and a question.

  Raises UserError if a quote in `command` is not closed; the function raises
  UserError if the command fails.
  """
  try:
    words = shlex.split(command)
  except ValueError as error:
    raise UserError(
      f'--answer_command={command} is not a command ({error}); correct its '
      'quotes'
    ) from error

  def answer(film: pathlib.Path, question: str) -> str:
    try:
      done = subprocess.run(
        [*words, str(film), question],
        check=True,
        capture_output=True,
        encoding='utf-8',
        timeout=_ANSWER_SECS,
      )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
      raise UserError(
        f'--answer_command={command} gave no answer about {film} ({error})'
      ) from error
    return done.stdout

  return answer


def score(
  questions: Sequence[Question], film: pathlib.Path, answer_fn: AnswerFn
) -> dict[str, float | None]:
  """Eq. (1) as `right` and `right_DIMENSION`; None without questions."""
  marks: dict[str, list[bool]] = {'right': []}
  for question in questions:
    right = is_right(answer_fn(film, question.text), question.answer)
    marks['right'].append(right)
    if question.dimension:
      name = re.sub(r'\W+', '_', question.dimension.lower()).strip('_')
      marks.setdefault(f'right_{name}', []).append(right)
  return {
    name: sum(own) / len(own) if own else None for name, own in marks.items()
  }


def is_right(answer: str, expected: str) -> bool:
  """Whether an answer is the expected one; see the module."""
  given, wanted = _words(answer), _words(expected)
  return given[:1] == wanted if len(wanted) == 1 else given == wanted


def _words(text: str) -> list[str]:
  return re.findall(r'\w+', text.lower())


def _case(entry: Any, where: str) -> Case:
  if not isinstance(entry, dict):
    raise UserError(f'{where} is {json_kind(entry)}; a case is an object')
  key = next((key for key in _PROMPTS if key in entry), None)
  if key is None:
    raise UserError(f'{where} has no prompt; give one of {", ".join(_PROMPTS)}')
  prompts = entry[key] if isinstance(entry[key], list) else [entry[key]]
  segments = [
    {'prompt': prompt, 'secs': PROMPT_SECS, 'cut': False} for prompt in prompts
  ]
  film = screenplay.parse({'segments': segments}, where)
  return Case(film, tuple(_questions(entry, where, '')))


def _questions(value: Any, where: str, dimension: str) -> Iterator[Question]:
  """The questions at any depth; a dimension holds for all that is inside."""
  if isinstance(value, list):
    for index, inner in enumerate(value):
      yield from _questions(inner, f'{where}[{index}]', dimension)
  if not isinstance(value, dict):
    return
  named = [value[key] for key in _DIMENSIONS if isinstance(value.get(key), str)]
  dimension = named[0] if named else dimension
  if 'question' in value and 'answer' in value:
    for field in ('question', 'answer'):
      if not isinstance(value[field], str | bool):
        raise UserError(
          f'{where}.{field} is {json_kind(value[field])}; it must be text'
        )
    answer = value['answer']
    if isinstance(answer, bool):
      answer = 'yes' if answer else 'no'
    yield Question(str(value['question']), answer, dimension)
    return
  for key, inner in value.items():
    yield from _questions(inner, f'{where}.{key}', dimension)
