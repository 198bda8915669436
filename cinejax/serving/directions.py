"""What a client may say to a film, as JSON objects.

{"do": "prompt", "prompt": "…"}        what is seen, from the next chunk on
    "cut": true                        as a new shot
    "blend_chunks": 3                  fading from the prompt before
    "at_secs": 12.5 | "at_chunk": 8    not now, but then
    "policy", "steps", "guidance"      see "set"
{"do": "cut"}                          a new shot, under the same prompt
{"do": "set", "policy": "window",      memory policy, denoising steps,
    "steps": 8, "guidance": 2.0}       guidance, from the next chunk on
{"do": "hold"}                         forget what was planned for later
{"do": "pause"}  {"do": "resume"}
{"do": "rewind", "chunk": 6}           as before that chunk; or "shot": 2
"""

import dataclasses
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.config import MAX_CHUNKS
from cinejax.film.journal import Settings
from cinejax.film.screenplay import check_object

_AT = {'at_secs': (int, float), 'at_chunk': int}
_SETTINGS = {'policy': str, 'steps': int, 'guidance': (int, float)}
FIELDS: dict[str, dict[str, Any]] = {
  'prompt': {'prompt': str, 'cut': bool, 'blend_chunks': int} | _AT | _SETTINGS,
  'cut': _AT,
  'set': _SETTINGS | _AT,
  'hold': {},
  'pause': {},
  'resume': {},
  'rewind': {'chunk': int, 'shot': int},
}


@dataclasses.dataclass(frozen=True)
class ChunkDirection:
  """Something about the chunks to come."""

  prompt: str | None = None  # None = whatever is said then
  cut: bool = False
  blend_chunks: int = 0
  settings: Settings = dataclasses.field(default_factory=Settings)
  at_secs: float | None = None  # of the film; both None = now
  at_chunk: int | None = None

  def merged(self, later: 'ChunkDirection') -> 'ChunkDirection':
    """Both, where both fall on one chunk: the later prompt wins."""
    if later.prompt is None:
      later = dataclasses.replace(
        later, prompt=self.prompt, blend_chunks=self.blend_chunks
      )
    return dataclasses.replace(
      later,
      cut=self.cut or later.cut,
      settings=self.settings.merged(later.settings),
    )


@dataclasses.dataclass(frozen=True)
class SessionCommand:
  """Something about the film's running."""

  do: str  # hold | pause | resume


@dataclasses.dataclass(frozen=True)
class Rewind:
  """Exactly one is given."""

  chunk: int | None = None
  shot: int | None = None


def parse(
  document: Any, prompt_chars: int
) -> ChunkDirection | SessionCommand | Rewind:
  """The direction; UserError, one sentence, for anything else."""
  if not isinstance(document, dict):
    raise UserError('a direction is a JSON object such as {"do": "hold"}')
  if document.get('do') == 'action':
    raise UserError(
      'actions are said after a prompt, as in [left|left jump], to a model '
      'that takes them'
    )
  do = document.get('do')
  if not isinstance(do, str) or do not in FIELDS:
    raise UserError(f'"do" must be one of {", ".join(FIELDS)}')
  check_object(document, {'do': str} | FIELDS[do], do)
  _check_numbers(document)
  given = {key: value for key, value in document.items() if key != 'do'}
  if do == 'rewind':
    if len(given) != 1:
      raise UserError('rewind takes a chunk or a shot, and only one')
    return Rewind(**given)
  if do in ('hold', 'pause', 'resume'):
    return SessionCommand(do)
  settings = Settings(**{k: given.pop(k) for k in _SETTINGS if k in given})
  if do == 'cut':
    given['cut'] = True
  elif do == 'set' and settings == Settings():
    raise UserError('set takes a policy, steps or guidance')
  elif do == 'prompt':
    given['prompt'] = _prompt(given.get('prompt', ''), prompt_chars)
  if given.get('cut') and given.get('blend_chunks'):
    raise UserError('a cut does not blend; give cut or blend_chunks')
  if len(given.keys() & _AT.keys()) == 2:
    raise UserError('give at_secs or at_chunk, not both')
  return ChunkDirection(settings=settings, **given)


def _prompt(prompt: str, most: int) -> str:
  prompt = ' '.join(prompt.split())
  if not prompt:
    raise UserError('the prompt is empty; say what is seen')
  if len(prompt) > most:
    raise UserError(f'the prompt is longer than {most} characters')
  return prompt


def _check_numbers(document: dict[str, Any]) -> None:
  for name, value in document.items():
    if isinstance(value, int | float) and not isinstance(value, bool):
      if not 0 <= value <= MAX_CHUNKS:  # NaN is not
        raise UserError(f'{name} is {value}; it must be 0 to {MAX_CHUNKS}')
