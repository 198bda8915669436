"""The segments of a film, recorded while it is generated chunk by chunk.

Every source of prompts goes through a Journal: a screenplay that is known
beforehand, lines at a terminal, and directions from a browser. A film that was
directed live is therefore a screenplay as well. Chunk k = 0, 1, .. of a segment
that blends over n chunks reads a mixture of the text of its own prompt and the
text of the previous prompt,

  text = s own + (1 - s) previous,   s = min(1, (k + 1) / (n + 1))         (1)

and what a segment sets (`Settings`) holds until a later segment changes it.
"""

import dataclasses
from typing import NamedTuple

from cinejax.film.cast import CastPicture


class Settings(NamedTuple):
  """What may change while a film runs; empty values leave the config's."""

  policy: str = ''  # of the memory
  steps: int | None = None  # denoising steps of a chunk
  guidance: float | None = None
  routed_frames: int | None = None  # past frames that the memory routes
  lora_strength: float | None = None  # times the strengths of --lora

  def given(self) -> dict[str, str | int | float]:
    """The values that are not empty, by name."""
    pairs = self._asdict().items()
    return {name: value for name, value in pairs if value not in ('', None)}

  def merged(self, later: 'Settings') -> 'Settings':
    """These settings, overridden by those that `later` gives."""
    return self._replace(**later.given())


@dataclasses.dataclass(frozen=True)
class Segment:
  """One prompt that holds for some chunks.

  Exactly one of `chunks` and `secs` is given.
  """

  prompt: str
  chunks: int | None = None  # >= 1
  secs: float | None = None  # > 0
  cut: bool = True  # starts a new shot
  global_prompt: str = ''  # '' = none
  blend_chunks: int = 0  # n of eq. (1); a cut does not blend
  policy: str = ''  # for this and the next four, see Settings
  steps: int | None = None
  guidance: float | None = None
  routed_frames: int | None = None
  lora_strength: float | None = None
  seed: int | None = None  # of the noise from here on; None: it goes on
  camera: str = ''  # moves of successive latent frames (moves.py); '' = none

  def __post_init__(self):
    if (self.chunks is None) == (self.secs is None):
      raise ValueError(f'give chunks or secs, not both: {self}')

  @property
  def full_prompt(self) -> str:
    """What the model reads, without the prefix of a cut."""
    return f'{self.global_prompt} {self.prompt}'.strip()

  @property
  def settings(self) -> Settings:
    return Settings(
      self.policy,
      self.steps,
      self.guidance,
      self.routed_frames,
      self.lora_strength,
    )


@dataclasses.dataclass(frozen=True)
class Film:
  """A screenplay."""

  segments: tuple[Segment, ...]
  title: str = ''
  seed: int | None = None  # of its noise; None: the command chooses one
  # Where the film was read from, for error messages. Films that differ in
  # nothing else are equal.
  source: str = dataclasses.field(default='the film', compare=False)
  cast: tuple[CastPicture, ...] = ()  # given pictures of its characters

  def location(self, index: int) -> str:
    """Where segment `index` is found, for error messages."""
    shot = sum(segment.cut for segment in self.segments[1 : index + 1])
    return f'{self.source}: shot {shot}, segments[{index}]'


class ChunkPrompt(NamedTuple):
  """The prompt of one chunk."""

  prompt: str  # as the model reads it, cut prefix included
  segment: int  # from 0
  shot: int  # from 0
  cut: bool  # whether a shot other than the first starts here
  share: float = 1.0  # s of eq. (1)
  previous_prompt: str = ''  # of eq. (1), if s < 1
  settings: Settings = Settings()
  seed: int | None = None  # of the noise from this chunk on; None: as before
  number: int = 0  # of the chunk in its segment
  camera: str = ''  # moves of the segment's latent frames


class Journal:
  """Segments with the chunks that they have so far; the last one is open."""

  def __init__(self, cut_prefix: str):
    self._cut_prefix = cut_prefix
    self._segments: list[Segment] = []
    self._shot, self._settings = 0, Settings()

  @property
  def segments(self) -> tuple[Segment, ...]:
    return tuple(self._segments)

  @property
  def chunks(self) -> int:
    """The number of chunks in all segments."""
    return sum(segment.chunks for segment in self._segments)

  @property
  def chunk_shots(self) -> tuple[int, ...]:
    """The shot of each chunk, from 0."""
    shots, shot = [], 0
    for index, segment in enumerate(self._segments):
      shot += segment.cut and index > 0
      shots += [shot] * segment.chunks
    return tuple(shots)

  def add(self, segment: Segment) -> None:
    """Starts `segment` with the next chunk; its own length is ignored."""
    self._shot += segment.cut and bool(self._segments)
    self._settings = self._settings.merged(segment.settings)
    segment = dataclasses.replace(segment, chunks=0, secs=None)
    self._segments.append(segment)

  def next_chunk(self) -> ChunkPrompt:
    """Adds a chunk to the last segment, which must exist."""
    index, last = len(self._segments) - 1, self._segments[-1]
    number = last.chunks
    self._segments[-1] = dataclasses.replace(last, chunks=number + 1)
    cut = last.cut and index > 0 and number == 0
    share, previous = 1.0, ''
    if number < last.blend_chunks and index and not last.cut:
      share = (number + 1) / (last.blend_chunks + 1)
      previous = self._segments[-2].full_prompt
    prefix = self._cut_prefix if cut else ''
    return ChunkPrompt(
      f'{prefix}{last.full_prompt}',
      index,
      self._shot,
      cut,
      share,
      previous,
      self._settings,
      last.seed if number == 0 else None,
      number,
      last.camera,
    )

  def prompts(self) -> tuple[ChunkPrompt, ...]:
    """The prompts of all chunks so far."""
    again, prompts = Journal(self._cut_prefix), []
    for segment in self._segments:
      again.add(segment)
      prompts += [again.next_chunk() for _ in range(segment.chunks)]
    return tuple(prompts)

  def truncated(self, chunks: int) -> 'Journal':
    """A copy of the journal as it was after `chunks` chunks."""
    copy = Journal(self._cut_prefix)
    for segment in self._segments:
      remaining = chunks - copy.chunks
      if remaining < 1:
        break
      copy.add(segment)
      for _ in range(min(remaining, segment.chunks)):
        copy.next_chunk()
    return copy


def too_long(max_chunks: int) -> str:
  """The error message for a film of more than `max_chunks` chunks."""
  return f'a film has {max_chunks} chunks at most'
