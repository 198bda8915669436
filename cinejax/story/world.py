"""Vocabularies and records of the story world, and the grammar of its prompts.

A prompt names a character, but not its appearance:

  Ada runs right in the forest, wide shot
  Ben jumps on the beach, close shot, panning

Appearances (hue x shape x pattern) are drawn again for every film, so that a
model that draws a returning character right must remember it.
"""

import dataclasses
import itertools
import re
from typing import NamedTuple

from cinejax.core.errors import UserError
from cinejax.film import screenplay as film_screenplay
from cinejax.film.config import FilmConfig

CHARACTERS = ('Ada', 'Ben', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus', 'Hana')
PLACES = ('forest', 'beach', 'city', 'kitchen', 'desert', 'cave')
SIZES = ('wide', 'medium', 'close')
CAMERAS = ('static', 'pan')
ACTIONS = ('stands', 'walks left', 'runs right', 'jumps')
HUES = ('red', 'yellow', 'green', 'blue')
SHAPES = ('round', 'square', 'pointed')
PATTERNS = ('plain', 'belted')

# The prompt of a given picture, wherever it was taken.
PICTURE_PROMPT = '{name} stands in the forest, medium shot'
CHUNK_FRAMES = 3  # latent frames of the chunks in which films are cast
FPS = 8
HEIGHT = WIDTH = 64

_ON = frozenset({'beach'})  # places that take "on" instead of "in"
WHERE = {place: 'on' if place in _ON else 'in' for place in PLACES}
_PROMPT = re.compile(
  rf'(?P<prefix>.*\b)?(?P<character>{"|".join(CHARACTERS)}) '
  rf'(?P<action>{"|".join(ACTIONS)}) (?:in|on) the '
  rf'(?P<place>{"|".join(PLACES)}), (?P<size>{"|".join(SIZES)}) shot'
  r'(?P<pan>, panning)?\.?',
  re.DOTALL,
)


class Appearance(NamedTuple):
  """The appearance of a character: indices into HUES, SHAPES and PATTERNS."""

  hue: int
  shape: int
  pattern: int

  def __str__(self) -> str:
    return f'{HUES[self.hue]} {SHAPES[self.shape]} {PATTERNS[self.pattern]}'


APPEARANCES = tuple(
  Appearance(*indices)
  for indices in itertools.product(
    range(len(HUES)), range(len(SHAPES)), range(len(PATTERNS))
  )
)


@dataclasses.dataclass(frozen=True)
class StorySegment:
  """One prompt for `chunks` chunks; the first five are vocabulary indices.

  `cut` is False in the first segment of a film, and where only the action
  changes while place, size, camera and character stay. A `picture` is a still
  one that was given of its character (directing/cast.py).
  """

  character: int
  place: int
  size: int
  camera: int
  action: int
  chunks: int
  cut: bool
  picture: bool = False


@dataclasses.dataclass(frozen=True)
class ReturnEvent:
  """A cut, at chunk `chunk`, to a character last on screen in `last_chunk`.

  `kind` is 'opening' for the character of chunk 0 and 'later' for others.
  `absent_chunks` chunks lie between, counted in CHUNK_FRAMES latent frames
  whatever the film's chunks are. `candidates` characters, this one among them,
  have been away for as long as a return takes, so that a model which ignores
  names draws the right one once in that many times.
  """

  character: int
  chunk: int
  last_chunk: int
  kind: str
  absent_chunks: int
  candidates: int


@dataclasses.dataclass(frozen=True)
class StoryFilm:
  """A cast film.

  `appearances[c]` is the index into APPEARANCES of character c.
  """

  seed: int
  segments: tuple[StorySegment, ...]
  appearances: tuple[int, ...]
  events: tuple[ReturnEvent, ...] = ()

  @property
  def chunks(self) -> int:
    """N, the length of the film in chunks."""
    return sum(segment.chunks for segment in self.segments)

  def chunk_segments(self) -> tuple[int, ...]:
    """The segment index of each chunk."""
    return tuple(
      index
      for index, segment in enumerate(self.segments)
      for _ in range(segment.chunks)
    )

  def chunk_characters(self) -> tuple[int, ...]:
    """The character on screen in each chunk."""
    return tuple(self.segments[i].character for i in self.chunk_segments())

  def segment_shots(self) -> tuple[int, ...]:
    """The shot index of each segment; a cut opens a new shot."""
    return tuple(itertools.accumulate(int(s.cut) for s in self.segments))

  def in_chunks_of(self, frames: int) -> 'StoryFilm':
    """The same film in chunks of `frames` latent frames.

    Raises UserError unless `frames` divides CHUNK_FRAMES, in which films are
    cast.
    """
    check_chunk(frames)
    times = CHUNK_FRAMES // frames
    return dataclasses.replace(
      self,
      segments=tuple(
        dataclasses.replace(segment, chunks=times * segment.chunks)
        for segment in self.segments
      ),
      events=tuple(
        dataclasses.replace(
          event,
          chunk=times * event.chunk,
          last_chunk=times * event.last_chunk + times - 1,
        )
        for event in self.events
      ),
    )

  def screenplay(self) -> film_screenplay.Film:
    """The film as a screenplay: its prompts, their chunks and cuts."""
    return film_screenplay.Film(
      segments=tuple(
        film_screenplay.Segment(
          prompt=prompt(segment),
          chunks=segment.chunks,
          secs=None,
          cut=segment.cut,
          global_prompt='',
        )
        for segment in self.segments
      ),
      title=f'story {self.seed}',
    )


def check_chunk(frames: int) -> None:
  """Raises UserError unless films can be in chunks of so many frames."""
  if CHUNK_FRAMES % frames:
    raise UserError(
      f'config.film.frames_per_chunk is {frames}; for story films it must '
      f'divide {CHUNK_FRAMES}'
    )


def check_size(film: FilmConfig, instead: str) -> None:
  """Raises UserError unless films have the size of the story world.

  `instead` says in the message what to do.
  """
  if (film.height, film.width) != (HEIGHT, WIDTH):
    raise UserError(
      f'config.film is {film.width}x{film.height} pixels; story films are '
      f'{WIDTH}x{HEIGHT}; {instead}'
    )


def prompt(segment: StorySegment) -> str:
  """The prompt of `segment`, without a prefix for a cut."""
  if segment.picture:
    return PICTURE_PROMPT.format(name=CHARACTERS[segment.character])
  place = PLACES[segment.place]
  pan = ', panning' if CAMERAS[segment.camera] == 'pan' else ''
  return (
    f'{CHARACTERS[segment.character]} {ACTIONS[segment.action]} '
    f'{WHERE[place]} the {place}, {SIZES[segment.size]} shot{pan}'
  )


def picture_segment(
  character: int, place: int, cut: bool = False
) -> StorySegment:
  """One chunk of a still picture of a character that stands somewhere."""
  return StorySegment(
    character=character,
    place=place,
    size=SIZES.index('medium'),
    camera=CAMERAS.index('static'),
    action=ACTIONS.index('stands'),
    chunks=1,
    cut=cut,
    picture=True,
  )


def parse_prompt(text: str) -> StorySegment | None:
  """The segment, of one chunk, that `text` describes.

  Words before the character, such as the prefix of a cut, make it a cut. None:
  the text is not of this grammar.
  """
  match = _PROMPT.fullmatch(text.strip())
  if match is None:
    return None
  return StorySegment(
    character=CHARACTERS.index(match['character']),
    place=PLACES.index(match['place']),
    size=SIZES.index(match['size']),
    camera=CAMERAS.index('pan' if match['pan'] else 'static'),
    action=ACTIONS.index(match['action']),
    chunks=1,
    cut=bool(match['prefix']),
  )
