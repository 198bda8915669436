"""Chooses the picture, the shots and the frames of a real clip that films keep.

One pass over the file finds the cuts (in the original frames) and the bars
around the picture. Then every shot is resampled by itself, so that it contains
no frame of another shot,

  frame k of a shot is what the file shows k / fps seconds after its start, (1)

and shortened at its end to whole chunks: 1 + s (n F - 1) frames for the first
shot of a film, s n F for later ones (cinejax.film.timeline). A clip that is too
long for one film becomes several films, each of which begins with a shot.
"""

import dataclasses
import fractions
import itertools
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np

from cinejax.core.errors import UserError
from cinejax.evaluation.metrics.cuts import detect_cuts
from cinejax.film.media import TimedImage, probe, read_frames, read_timed
from cinejax.film.timeline import Timeline

Box = tuple[int, int, int, int]  # (top, bottom, left, right), in pixels

_BAR = 32.0  # of 255; the mean of a row or column in a bar is never more
_ROUNDING = 1e-6  # of a frame
_SAMPLE = 5  # one in so many frames is searched for bars


@dataclasses.dataclass(frozen=True)
class Survey:
  """The properties of a clip that one pass over its file finds."""

  frames: int  # that could be decoded
  rate: fractions.Fraction  # original frames per second
  height: int  # pixels, bars included
  cuts: tuple[int, ...]  # original frames at which a new shot starts
  picture: Box  # without bars
  # seconds at which each frame appears and the last one ends, if the rate
  # varies; () = constant
  times: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class ShotExcerpt:
  """The part of a shot that a film keeps."""

  shot: int  # its number in the clip, from 0
  start: int  # original frames of the whole shot
  stop: int
  frames: tuple[int, ...]  # original frame of each frame of the film
  chunks: int


@dataclasses.dataclass(frozen=True)
class Plan:
  """The films that a clip becomes."""

  films: tuple[tuple[ShotExcerpt, ...], ...]
  dropped: tuple[int, ...]  # numbers of shots that do not fill a chunk


def survey(path: str | os.PathLike) -> Survey:
  """Reads the whole file once.

  Raises UserError if the file is damaged.
  """
  info = probe(path)
  bars, clock = _Bars(), _Clock(info.fps)
  cuts = detect_cuts(bars.watch(clock.watch(read_timed(path))))
  if not bars.count:
    raise UserError(f'{path}: has no frames')
  return Survey(
    bars.count, info.fps, info.height, cuts, bars.picture(), clock.times()
  )


def plan_films(
  found: Survey, timeline: Timeline, film_chunks: int, shot_chunks: int = 0
) -> Plan:
  """Chooses the frames of every film.

  Args:
    found: the clip's frames and cuts.
    timeline: of the films.
    film_chunks: the most chunks of a film.
    shot_chunks: the most chunks of a shot; 0 = no limit.
  """
  most = min(shot_chunks or film_chunks, film_chunks)
  films: list[list[ShotExcerpt]] = [[]]
  dropped = []
  bounds = itertools.pairwise((0, *found.cuts, found.frames))
  for shot, (start, stop) in enumerate(bounds):
    frames = _resample(start, stop, found, timeline.fps)
    room = film_chunks - sum(excerpt.chunks for excerpt in films[-1])
    wanted = min(most, timeline.shot_chunks(len(frames), opens=False))
    if films[-1] and wanted > room:
      films.append([])
    opens = not films[-1]
    chunks = min(most, timeline.shot_chunks(len(frames), opens))
    if not chunks:
      dropped.append(shot)
      continue
    length = timeline.shot_pixels(chunks, opens)
    films[-1].append(ShotExcerpt(shot, start, stop, frames[:length], chunks))
  return Plan(tuple(tuple(film) for film in films if film), tuple(dropped))


def fill(picture: Box, height: int, width: int) -> Box:
  """The largest centred part of `picture` with the aspect height : width."""
  top, bottom, left, right = picture
  rows = min(bottom - top, round((right - left) * height / width))
  columns = min(right - left, round((bottom - top) * width / height))
  top += (bottom - top - rows) // 2
  left += (right - left - columns) // 2
  return top, top + rows, left, left + columns


def read_films(
  path: str | os.PathLike, plan: Plan, box: Box, size: tuple[int, int]
) -> Iterator[np.ndarray]:
  """Yields the uint8 video_TYXC of each film of `plan`, in one pass."""
  frames = enumerate(read_frames(path, crop=box, size=size))
  number, frame_YXC = next(frames)
  for film in plan.films:
    frames_TYXC = []
    for wanted in itertools.chain(*(excerpt.frames for excerpt in film)):
      while number < wanted:
        number, frame_YXC = next(frames)
      frames_TYXC.append(frame_YXC)
    yield np.stack(frames_TYXC)


def _resample(
  start: int, stop: int, found: Survey, fps: float
) -> tuple[int, ...]:
  """Eq. (1), in original frames."""
  if found.times:
    secs = found.times[stop] - found.times[start]
    count = max(1, math.ceil(secs * fps - _ROUNDING))
    shown = np.array(found.times[start:stop]) - _ROUNDING / fps
    wanted = found.times[start] + np.arange(count) / fps
    frames = start - 1 + np.searchsorted(shown, wanted, 'right')
    return tuple(frames.tolist())
  step = found.rate / fractions.Fraction(fps)
  frames = (start + int(k * step) for k in itertools.count())
  return tuple(itertools.takewhile(lambda frame: frame < stop, frames))


class _Clock:
  """Keeps the times of frames, if their rate varies."""

  def __init__(self, rate: fractions.Fraction) -> None:
    self._rate, self._varies = fractions.Fraction(rate), False
    self._times, self._end = [], 0.0

  def watch(self, timed: Iterator[TimedImage]) -> Iterator[np.ndarray]:
    for image_YXC, start, stop in timed:
      self._varies |= start != len(self._times) / self._rate
      self._times.append(float(start))
      self._end = float(stop)
      yield image_YXC

  def times(self) -> tuple[float, ...]:
    return (*self._times, self._end) if self._varies else ()


class _Bars:
  """Counts frames, and finds the greatest mean of every row and column."""

  def __init__(self) -> None:
    self.count = 0
    self._rows = self._columns = np.zeros(0)

  def watch(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for frame_YXC in frames:
      if self.count % _SAMPLE == 0:
        light_YX = frame_YXC.max(-1)
        self._rows = _brightest(self._rows, light_YX.mean(1))
        self._columns = _brightest(self._columns, light_YX.mean(0))
      self.count += 1
      yield frame_YXC

  def picture(self) -> Box:
    return *_between_bars(self._rows), *_between_bars(self._columns)


def _brightest(so_far: np.ndarray, light: np.ndarray) -> np.ndarray:
  return np.maximum(so_far, light) if so_far.size else light


def _between_bars(light: Sequence[float]) -> tuple[int, int]:
  """The lit range [start, stop), or all of it unless both sides are dark."""
  lit = np.flatnonzero(np.asarray(light) > _BAR)
  # If only one side is dark, or everything, then the scene is dark.
  if not lit.size or lit[0] == 0 or lit[-1] == len(light) - 1:
    return 0, len(light)
  return int(lit[0]), int(lit[-1]) + 1
