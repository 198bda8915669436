"""The directions that a client can give to a film, as JSON objects.

{"do": "prompt", "prompt": "…"}        a new prompt, from the next chunk on
    "cut": true                        as a new shot; or "prompt": "cut: …"
    "chunks": 3                        for at least 3 chunks; or "… * 3"
    "blend_chunks": 3                  fading from the previous prompt
    "at_secs": 12.5 | "at_chunk": 8    at a later time
    "seed": 7                          with other noise from there on
    "policy", "steps", …               see "set"
{"do": "cut"}                          a new shot, with the same prompt
{"do": "set", "policy": "window",      the memory policy, denoising steps and
    "steps": 8, "guidance": 2.0,       guidance, how many past frames the
    "routed_frames": 3,                memory routes, and the factor on the
    "lora_strength": 0.5}              strengths of --lora, from the next chunk
{"do": "hold"}                         forget the planned directions
{"do": "pause"}  {"do": "resume"}
{"do": "rewind", "chunk": 6}           back to before that chunk; or "shot": 2
{"do": "choose_take", "take": 9}       on from the end of a take, and
{"do": "delete_take", "take": 9}       list it no more
{"do": "undo"}  {"do": "redo"}         the last of all steps but pause, resume
{"do": "edit_planned", "chunk": 8,     of what is planned for that chunk: the
    "prompt": "…", "cut": true,        prompt, whether it is a new shot, and its
    "chunks": 3}                       length
{"do": "move_planned", "chunk": 8,     to another place of the plan, from 0
    "place": 2}
{"do": "delete_planned", "chunk": 8}   and what is planned after it moves up
"""

import dataclasses
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film import directions as film_directions
from cinejax.film.config import MAX_CHUNKS
from cinejax.film.journal import Segment, Settings
from cinejax.film.screenplay import check_object, check_seed

_AT = {'at_secs': (int, float), 'at_chunk': int}
_SETTINGS = {
  'policy': str,
  'steps': int,
  'guidance': (int, float),
  'routed_frames': int,
  'lora_strength': (int, float),
}
FIELDS: dict[str, dict[str, Any]] = {
  'prompt': {'prompt': str, 'cut': bool, 'chunks': int, 'blend_chunks': int}
  | {'seed': int}
  | _AT
  | _SETTINGS,
  'cut': _AT,
  'set': _SETTINGS | _AT,
  'hold': {},
  'pause': {},
  'resume': {},
  'rewind': {'chunk': int, 'shot': int},
  'choose_take': {'take': int},
  'delete_take': {'take': int},
  'undo': {},
  'redo': {},
  'edit_planned': {'chunk': int, 'prompt': str, 'cut': bool, 'chunks': int},
  'move_planned': {'chunk': int, 'place': int},
  'delete_planned': {'chunk': int},
}
_EDITS = ('rewind', 'choose_take', 'delete_take', 'undo', 'redo')
_EDITS += ('edit_planned', 'move_planned', 'delete_planned')
# Fields that each of these needs; all others may be left out.
_NEEDED = {
  'choose_take': ('take',),
  'delete_take': ('take',),
  'edit_planned': ('chunk',),
  'move_planned': ('chunk', 'place'),
  'delete_planned': ('chunk',),
}


@dataclasses.dataclass(frozen=True)
class ChunkDirection:
  """What a chunk, and those after it, should show."""

  prompt: str | None = None  # None: the prompt does not change
  cut: bool = False
  blend_chunks: int = 0
  settings: Settings = dataclasses.field(default_factory=Settings)
  at_secs: float | None = None  # of the film; None for both: now
  at_chunk: int | None = None
  chunks: int = 1  # the next prompt waits for so many, if it is not for a time
  seed: int | None = None  # of the noise from there on; None: as before
  camera: str = ''  # moves of a screenplay's segment; '' = none

  @classmethod
  def of_segment(cls, segment: Segment, chunk: int) -> 'ChunkDirection':
    """The direction with which `segment` begins at `chunk`."""
    return cls(
      segment.full_prompt,
      segment.cut,
      segment.blend_chunks,
      segment.settings,
      at_chunk=chunk,
      seed=segment.seed,
      camera=segment.camera,
    )

  def segment(self, prompt: str) -> Segment:
    """The segment of one chunk that it begins; `prompt` is the one before."""
    return Segment(
      self.prompt or prompt,
      chunks=1,
      cut=self.cut,
      blend_chunks=0 if self.cut else self.blend_chunks,
      seed=self.seed,
      camera=self.camera,
      **self.settings._asdict(),
    )

  def merged(self, later: 'ChunkDirection') -> 'ChunkDirection':
    """Merges two directions for one chunk; the later prompt wins."""
    if later.prompt is None:
      later = dataclasses.replace(
        later,
        prompt=self.prompt,
        chunks=self.chunks,
        blend_chunks=self.blend_chunks,
        camera=self.camera,
        seed=self.seed if later.seed is None else later.seed,
      )
    return dataclasses.replace(
      later,
      cut=self.cut or later.cut,
      settings=self.settings.merged(later.settings),
    )


@dataclasses.dataclass(frozen=True)
class SessionCommand:
  """Pauses or resumes the film, or drops its plan."""

  do: str  # hold | pause | resume
  prompt: None = None


@dataclasses.dataclass(frozen=True)
class Edit:
  """A change to the film or its plan, which edits.py makes."""

  do: str
  fields: dict[str, Any]

  @property
  def prompt(self) -> str | None:
    """The prompt that it gives, if there is one."""
    return self.fields.get('prompt')


def parse(
  document: Any, prompt_chars: int
) -> ChunkDirection | SessionCommand | Edit:
  """The direction that a JSON object describes.

  Args:
    document: any JSON value.
    prompt_chars: the longest prompt.

  Raises:
    UserError: if it describes no direction.
  """
  if not isinstance(document, dict):
    raise UserError('a direction is a JSON object such as {"do": "hold"}')
  if document.get('do') == 'action':
    raise UserError(
      'write actions after a prompt, as in [left|left jump], for a model '
      'that knows actions'
    )
  do = document.get('do')
  if not isinstance(do, str) or do not in FIELDS:
    raise UserError(f'"do" must be one of {", ".join(FIELDS)}')
  check_object(document, {'do': str} | FIELDS[do], do)
  _check_numbers(document)
  given = {key: value for key, value in document.items() if key != 'do'}
  if do in _EDITS:
    return _edit(do, given, prompt_chars)
  if do in ('hold', 'pause', 'resume'):
    return SessionCommand(do)
  settings = Settings(**{k: given.pop(k) for k in _SETTINGS if k in given})
  if do == 'cut':
    given['cut'] = True
  elif do == 'set' and settings == Settings():
    *first, last = _SETTINGS
    raise UserError(f'set takes a {", ".join(first)} or {last}')
  elif do == 'prompt':
    line = film_directions.parse(_prompt(given.get('prompt', ''), prompt_chars))
    given['prompt'] = line.prompt
    given['cut'] = given.get('cut', False) or line.cut
    given['chunks'] = max(line.chunks, given.get('chunks', 1))
  if given.get('cut') and given.get('blend_chunks'):
    raise UserError('a cut does not blend; give cut or blend_chunks')
  if len(given.keys() & _AT.keys()) == 2:
    raise UserError('give at_secs or at_chunk, not both')
  return ChunkDirection(settings=settings, **given)


def _edit(do: str, given: dict[str, Any], prompt_chars: int) -> Edit:
  if do == 'rewind' and len(given) != 1:
    raise UserError('rewind takes a chunk or a shot, and only one of them')
  for name in _NEEDED.get(do, ()):
    if name not in given:
      raise UserError(f'{do} lacks {name}')
  if do == 'edit_planned':
    if len(given) == 1:
      raise UserError('edit_planned takes a prompt, cut or chunks')
    if given.get('chunks', 1) < 1:
      raise UserError('a shot has at least one chunk')
    if 'prompt' in given:
      given['prompt'] = _prompt(given['prompt'], prompt_chars)
  return Edit(do, given)


def _prompt(prompt: str, max_chars: int) -> str:
  prompt = ' '.join(prompt.split())
  if not prompt:
    raise UserError('the prompt is empty; describe what is seen')
  if len(prompt) > max_chars:
    raise UserError(f'the prompt is longer than {max_chars} characters')
  return prompt


def _check_numbers(document: dict[str, Any]) -> None:
  for name, value in document.items():
    if name == 'seed':
      check_seed(value, 'the direction')
    elif isinstance(value, int | float) and not isinstance(value, bool):
      if not 0 <= value <= MAX_CHUNKS:  # also false for NaN
        raise UserError(f'{name} is {value}; it must be 0 to {MAX_CHUNKS}')
