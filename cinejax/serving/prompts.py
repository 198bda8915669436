"""Says, before a prompt is sent, how the model will read it.

A story model knows the words of its grammar (story/world.py): `vocabulary`
lists them for completions, and `PromptReader` marks all others. For every model
it counts the tokens and finds where the text encoder stops reading. What is
typed as for `direct --live` (`cut:`, `* 2`, actions) is explained.
"""

import re
from typing import Any

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film import directions
from cinejax.models.text import actions
from cinejax.models.text.hashed import WORD, tokenise
from cinejax.story import world


def vocabulary(cfg: Config) -> list[list[str]] | None:
  """What a prompt of a story model consists of, part by part.

  Returns:
    For each part the texts from which one is chosen, None for models that read
    free text. Parts are joined by a space, unless they begin with a comma.
  """
  size = (cfg.film.height, cfg.film.width)
  if cfg.text.name != 'hashed' or size != (world.HEIGHT, world.WIDTH):
    return None
  return [
    [*world.CHARACTERS],
    [*world.ACTIONS],
    [f'{world.WHERE[place]} the {place}' for place in world.PLACES],
    [f', {size} shot' for size in world.SIZES],
    [', panning'],
  ]


class PromptReader:
  """Reads prompts as the model of a director does."""

  def __init__(self, director: Director):
    self._director = director
    parts = vocabulary(director.cfg)
    self._known = parts and {
      word for part in parts for text in part for word in tokenise(text)
    }

  def to_json(self, line: str) -> dict[str, Any]:
    """How a line is understood; an empty one has no tokens.

    Returns:
      JSON: the `prompt` without what is typed before and after it, whether it
      is a `cut`, the least number of `chunks`, the `tokens` and their `limit`,
      `read`, the number of characters that the encoder reads, `unknown`, the
      words [start, stop) that the model does not know, and `notes`, sentences
      for the writer. Characters are counted as JavaScript does.
    """
    cfg, line = self._director.cfg, re.sub(r'\s', ' ', line)
    answer = {'prompt': '', 'cut': False, 'chunks': 1, 'tokens': 0}
    answer |= {'limit': cfg.text.words, 'read': _units(line)}
    answer |= {'unknown': [], 'notes': []}
    if not line.strip():
      return answer
    try:
      segment = directions.parse(line)
      self._director.check_prompt(segment.prompt)
    except UserError as error:
      return answer | {'notes': [str(error)]}
    after = line.index(':') + 1 if segment.cut else 0
    start = line.index(segment.prompt, after)
    bare = segment.prompt
    if cfg.text.steered:
      bare, _ = actions.read(bare)
    prefix = cfg.film.cut_prefix if segment.cut else ''
    tokens = self._director.text.count(f'{prefix}{bare}')
    unknown = self._unknown(bare)
    answer |= {
      'prompt': segment.prompt,
      'cut': segment.cut,
      'chunks': segment.chunks,
      'tokens': tokens,
      'unknown': [
        [_units(line[: start + a]), _units(line[: start + b])]
        for a, b in unknown
      ],
      'notes': self._notes(line, segment, bare, tokens, unknown),
    }
    if tokens > cfg.text.words:
      read = self._read_chars(bare, prefix)
      answer['read'] = _units(line[: start + read])
    return answer

  def _unknown(self, prompt: str) -> list[tuple[int, int]]:
    if self._known is None:
      return []
    return [
      found.span()
      for found in WORD.finditer(prompt)
      if not self._known.issuperset(tokenise(found[0]))
    ]

  def _read_chars(self, prompt: str, prefix: str) -> int:
    """The length of the longest run of whole words that fits."""
    ends = [0, *(found.end() for found in re.finditer(r'\S+', prompt))]
    low, high = 0, len(ends) - 1  # words that fit, and that do not
    while high - low > 1:
      middle = (low + high) // 2
      count = self._director.text.count(f'{prefix}{prompt[: ends[middle]]}')
      if count <= self._director.cfg.text.words:
        low = middle
      else:
        high = middle
    return ends[low]

  def _notes(self, line, segment, bare, tokens, unknown) -> list[str]:
    notes, cfg = [], self._director.cfg
    if segment.cut:
      notes.append('`cut:` starts a new shot, as Shift+Enter does.')
    if not line.rstrip().endswith(segment.prompt):
      notes.append(
        f'`* {segment.chunks}`: this holds for at least {segment.chunks} '
        'chunks; what is written next waits for them.'
      )
    if bare != segment.prompt:
      notes.append(
        'Brackets hold the actions of single latent frames, separated by |; '
        f'this model takes {", ".join(cfg.text.steering)}.'
      )
    elif actions.read(bare)[1]:
      notes.append(
        'This model takes no actions; what stands in brackets is read as words.'
      )
    if tokens > cfg.text.words:
      notes.append(
        f'The text encoder reads {cfg.text.words} tokens, and this has '
        f'{tokens}; the end of it is not read.'
      )
    if unknown:
      words = ', '.join(bare[a:b] for a, b in unknown[:5])
      notes.append(f'This model has never seen: {words}.')
    elif self._known and world.parse_prompt(bare) is None:
      notes.append(
        'This model knows one kind of sentence: NAME ACTION in the PLACE, SIZE '
        'shot.'
      )
    return notes


def _units(text: str) -> int:
  """The length of a text in JavaScript, in units of UTF-16."""
  return len(text.encode('utf-16-le', 'surrogatepass')) // 2
