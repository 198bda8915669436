"""Which past frames the memory read for a chunk, as numbers and in words.

A chunk reads the window, which consists of the latent frames just before it,
and the older frames that the memory policy routes. Routing may differ between
denoising passes and layers; the share of a frame is the share of passes and
layers that routed it, and of heads if each routes for itself.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from cinejax.film.journal import ChunkPrompt
from cinejax.film.timeline import Timeline
from cinejax.memory.bank import EMPTY, picture_number
from cinejax.rollout.state import ChunkOutput

MAX_FRAMES = 16  # of ChunkReads.frames


class RoutedFrame(NamedTuple):
  """A past frame that the memory read for a chunk."""

  frame: int  # latent frame; of a given picture if negative (memory/bank.py)
  share: float  # of passes and layers that routed it


class ChunkReads(NamedTuple):
  """What the memory read for a chunk."""

  chunk: int
  window: tuple[int, int]  # latent frames [start, stop) just before the chunk
  frames: tuple[RoutedFrame, ...]  # the most read ones, in time order

  def to_json(
    self,
    prompts: Sequence[ChunkPrompt],
    timeline: Timeline,
    cast: Sequence[str] = (),
  ) -> dict[str, Any]:
    """The reads for a report.

    Args:
      prompts: of the film, at least up to this chunk.
      timeline: of the film.
      cast: the names of its given pictures, whose frames are negative.
    """
    start, stop = (
      timeline.chunk_start_pixel(n) / timeline.fps
      for n in (self.chunk, self.chunk + 1)
    )
    return {
      'chunk': self.chunk,
      'secs': [round(start, 3), round(stop, 3)],
      'shot': prompts[self.chunk].shot,
      'window': list(self.window),
      'frames': [[one.frame, round(one.share, 4)] for one in self.frames],
      'words': self.words([one.shot for one in prompts], timeline, cast),
    }

  def words(
    self,
    shots: Sequence[int],
    timeline: Timeline,
    cast: Sequence[str] = (),
  ) -> str:
    """One sentence that says which past frames were read, and how much.

    Args:
      shots: the shot of each chunk of the film, at least up to this chunk.
      timeline: of the film.
      cast: the names of its given pictures.
    """
    start, stop = self.window
    pictures = _listed(self._pictures(timeline.frames_per_chunk, cast))
    if start == stop:
      if pictures:
        return f'The film begins, and it read {pictures}.'
      return 'The film begins, so there is no past to read.'
    count = stop - start
    recent = f'the last {count} latent frames'
    recent = recent if count > 1 else 'the last latent frame'
    past = [one for one in self.frames if one.frame >= 0]
    if not past:
      return f'It read {recent} and {pictures or "nothing older"}.'
    if pictures:
      recent = f'{recent}, {pictures}'
    by_shot: dict[int, list[str]] = {}
    for one in past:
      shot = shots[timeline.chunk_of_latent(one.frame)]
      secs = timeline.latent_start_pixel(one.frame) / timeline.fps
      entry = f'{secs:.1f} s ({_percent(one.share)})'
      by_shot.setdefault(shot, []).append(entry)
    older = '; '.join(
      f'shot {shot} at {_listed(times)}' for shot, times in by_shot.items()
    )
    return f'It read {recent} and, of the older ones, {older}.'

  def _pictures(self, frames: int, cast: Sequence[str]) -> list[str]:
    """Each given picture that was read."""
    return [
      f'the picture of {cast[number]} ({_percent(share)})'
      for number, share in picture_shares(self.frames, frames).items()
    ]


class MemoryRecorder:
  """Records what the memory read for each chunk of a film.

  It is called with the output of one chunk after another. An output is fetched
  when the next one arrives, so that the device is not waited for.
  """

  def __init__(self, frames: int, window_frames: int, first_chunk: int = 0):
    """Begins a record.

    Args:
      frames: F.
      window_frames: V.
      first_chunk: the first chunk that is generated; those before are given.
    """
    self._frames, self._window_frames = frames, window_frames
    self._chunk = first_chunk
    self._waiting: jax.Array | None = None  # frame_JLBR of the last output
    self._reads: list[ChunkReads] = []

  def __call__(self, output: ChunkOutput) -> None:
    self._fetch()
    self._waiting = output.frame_JLBR

  @property
  def reads(self) -> tuple[ChunkReads, ...]:
    """The reads of all chunks so far."""
    self._fetch()
    return tuple(self._reads)

  def _fetch(self) -> None:
    if self._waiting is not None:
      start = self._chunk * self._frames
      window = (max(0, start - self._window_frames), start)
      routed = routed_frames(self._waiting)
      self._reads.append(ChunkReads(self._chunk, window, routed))
      self._chunk += 1
    self._waiting = None


def routed_frames(frame_JLBR: jax.Array) -> tuple[RoutedFrame, ...]:
  """The MAX_FRAMES most read frames of the first film, in time order.

  Args:
    frame_JLBR: int32, of a ChunkOutput; with an axis of heads before the last
      if they choose apart.
  """
  frame_JLR = np.asarray(frame_JLBR)[:, :, 0]
  frames, counts = np.unique(frame_JLR[frame_JLR != EMPTY], return_counts=True)
  passes = math.prod(frame_JLR.shape[:-1])
  most_read = np.argsort(-counts, kind='stable')[:MAX_FRAMES]
  return tuple(
    RoutedFrame(int(frames[n]), float(counts[n] / passes))
    for n in sorted(most_read)
  )


def picture_shares(
  routed: Sequence[RoutedFrame], frames: int
) -> dict[int, float]:
  """The share of each given picture that was read, that of its most read frame.

  Args:
    routed: the frames that were read.
    frames: F.
  """
  shares: dict[int, float] = {}
  for one in routed:
    if one.frame < 0:
      number = picture_number(one.frame, frames)
      shares[number] = max(one.share, shares.get(number, 0))
  return dict(sorted(shares.items()))


def _percent(share: float) -> str:
  return f'{max(1, round(100 * share))} %'


def _listed(parts: Sequence[str]) -> str:
  *first, last = parts or ['']
  return f'{", ".join(first)} and {last}' if first else last
