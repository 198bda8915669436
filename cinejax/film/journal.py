"""What has been asked of a film, segment by segment, while it is made.

A film is read chunk by chunk, and this is the only reader: a screenplay that
is known beforehand, lines at a terminal and a director in a browser all go
through it, so that what was directed live is a screenplay. Chunk k = 0, 1, ..
of a segment that blends over n chunks reads, of the texts of its own prompt
and of the one before,

  text = s own + (1 - s) before,   s = min(1, (k + 1) / (n + 1))           (1)

and what a segment sets (`Settings`) holds until another says otherwise.
"""

import dataclasses
from typing import NamedTuple


class Settings(NamedTuple):
  """What may change while a film runs; empty = as the config says."""

  policy: str = ''  # of the memory
  steps: int | None = None  # denoising steps a chunk
  guidance: float | None = None

  def given(self) -> dict[str, str | int | float]:
    """Those that are not empty, by name."""
    pairs = self._asdict().items()
    return {name: value for name, value in pairs if value not in ('', None)}

  def merged(self, later: 'Settings') -> 'Settings':
    """These, where `later` says nothing."""
    return self._replace(**later.given())


@dataclasses.dataclass(frozen=True)
class Segment:
  """One prompt held for a while; exactly one of `chunks`, `secs` is given."""

  prompt: str
  chunks: int | None = None  # >= 1
  secs: float | None = None  # > 0
  cut: bool = True  # starts a new shot
  global_prompt: str = ''  # '' = none
  blend_chunks: int = 0  # n of eq. (1); a cut does not blend
  policy: str = ''  # these three: see Settings
  steps: int | None = None
  guidance: float | None = None

  def __post_init__(self):
    if (self.chunks is None) == (self.secs is None):
      raise ValueError(f'give chunks or secs, not both: {self}')

  @property
  def full_prompt(self) -> str:
    """What the model reads, but for a cut's prefix."""
    return f'{self.global_prompt} {self.prompt}'.strip()

  @property
  def settings(self) -> Settings:
    return Settings(self.policy, self.steps, self.guidance)


@dataclasses.dataclass(frozen=True)
class Film:
  segments: tuple[Segment, ...]
  title: str = ''
  seed: int | None = None  # of its noise; None = whoever makes it says
  # whoever reads what is wrong with it is told; the same film elsewhere equals
  where: str = dataclasses.field(default='the film', compare=False)

  def location(self, index: int) -> str:
    """Where to find a segment."""
    shot = sum(segment.cut for segment in self.segments[1 : index + 1])
    return f'{self.where}: shot {shot}, segments[{index}]'


class ChunkPrompt(NamedTuple):
  """What one chunk is asked to be."""

  prompt: str  # as the model reads it, cut prefix included
  segment: int  # from 0
  shot: int  # from 0
  cut: bool  # whether a shot other than the first starts here
  share: float = 1.0  # s of eq. (1)
  previous_prompt: str = ''  # the other prompt of eq. (1), where s < 1
  settings: Settings = Settings()


class Journal:
  """Segments with the chunks that they got so far; the last one is open."""

  def __init__(self, cut_prefix: str):
    self._cut_prefix = cut_prefix
    self._segments: list[Segment] = []
    self._shot, self._settings = 0, Settings()

  @property
  def segments(self) -> tuple[Segment, ...]:
    return tuple(self._segments)

  @property
  def chunks(self) -> int:
    """Of all segments together."""
    return sum(segment.chunks for segment in self._segments)

  def add(self, segment: Segment) -> None:
    """From the next chunk on; however long `segment` says it is."""
    self._shot += segment.cut and bool(self._segments)
    self._settings = self._settings.merged(segment.settings)
    segment = dataclasses.replace(segment, chunks=0, secs=None)
    self._segments.append(segment)

  def next_chunk(self) -> ChunkPrompt:
    """What the next chunk is to be; something must have been said."""
    index, last = len(self._segments) - 1, self._segments[-1]
    number = last.chunks
    self._segments[-1] = dataclasses.replace(last, chunks=number + 1)
    cut = last.cut and index > 0 and number == 0
    share, before = 1.0, ''
    if number < last.blend_chunks and index and not last.cut:
      share = (number + 1) / (last.blend_chunks + 1)
      before = self._segments[-2].full_prompt
    prompt = (
      f'{self._cut_prefix}{last.full_prompt}' if cut else last.full_prompt
    )
    return ChunkPrompt(
      prompt, index, self._shot, cut, share, before, self._settings
    )

  def truncated(self, chunks: int) -> 'Journal':
    """As it was when the film had this many chunks."""
    then = Journal(self._cut_prefix)
    for segment in self._segments:
      left = chunks - then.chunks
      if left < 1:
        break
      then.add(segment)
      for _ in range(min(left, segment.chunks)):
        then.next_chunk()
    return then
