"""The state of every pixel frame of a cast film.

Within a shot a character's path is the integral of the speeds of its actions.
The path starts at a place that is drawn from the film's seed, such that the
character stays inside the picture; a path that is too long for it is slowed
down as a whole. A segment that continues a shot starts where the one before
ended. The height of a jump follows |sin|; a segment has a whole number of
jumps. In a picture nothing moves.
"""

from typing import NamedTuple

import numpy as np

from cinejax.film.timeline import Timeline
from cinejax.story import places, sprites, world

WALK, RUN = 0.5, 0.8  # pixels a frame
PAN = 0.5  # pixels a frame
JUMP = 0.16  # height of a jump, in heights of the body
_HALF = 0.46  # half the width of a body with its outline, in heights

_SPEED = {'stands': 0.0, 'walks left': -WALK, 'runs right': RUN, 'jumps': 0.0}
_CYCLE = {'stands': 8, 'walks left': 8, 'runs right': 5, 'jumps': 8}  # frames


class Frames(NamedTuple):
  """The state of T frames; every array is [T].

  The last five fields are those of sprites.Pose.
  """

  place: np.ndarray
  size: np.ndarray
  offset: np.ndarray  # pixels of camera travel, in steps of 1 / places.PHASES
  hue: np.ndarray
  shape: np.ndarray
  pattern: np.ndarray
  x: np.ndarray
  lift: np.ndarray
  step: np.ndarray
  gait: np.ndarray
  gaze: np.ndarray


def x_range(size: int) -> tuple[float, float]:
  """Least and greatest x, in pixels, of a sprite fully in the picture."""
  margin = _HALF * sprites.BODY[size] + 1.0
  return margin, world.WIDTH - margin


def describe(
  film: world.StoryFilm,
  frames_per_chunk: int = 3,
  stride: int = 4,
  frames: int | None = None,
) -> Frames:
  """The state of every frame of `film`.

  Args:
    film: a cast film.
    frames_per_chunk: F, latent frames of its chunks.
    stride: pixel frames of a latent frame.
    frames: how many states to return: the last one is repeated, so that films
      of different lengths can be stacked; None: as many as the film has.
  """
  bounds = [0]
  for segment in film.segments:
    bounds.append(bounds[-1] + segment.chunks)
  timeline = Timeline(frames_per_chunk, stride, world.FPS)
  starts = [timeline.chunk_start_pixel(chunk) for chunk in bounds]
  shots = film.segment_shots()
  parts = []
  for shot in range(shots[-1] + 1):
    indices = [i for i, s in enumerate(shots) if s == shot]
    segments = [film.segments[i] for i in indices]
    lengths = [starts[i + 1] - starts[i] for i in indices]
    key = np.random.SeedSequence([film.seed, shot])
    where = np.random.Generator(np.random.Philox(key)).uniform()
    states = _shot(segments, lengths, film.appearances, where)
    if segments[0].picture:
      states = Frames(*(np.repeat(x[:1], len(x)) for x in states))
    parts.append(states)
  total = starts[-1]
  keep = np.minimum(np.arange(frames or total), total - 1)
  return Frames(
    *(np.concatenate(arrays)[keep] for arrays in zip(*parts, strict=True))
  )


def _shot(
  segments: list[world.StorySegment],
  lengths: list[int],
  appearances: tuple[int, ...],
  where: float,
) -> Frames:
  """The states of one shot; `where` in [0, 1] places its path."""
  first, total = segments[0], sum(lengths)
  actions = [world.ACTIONS[segment.action] for segment in segments]
  speed_T = np.repeat([_SPEED[action] for action in actions], lengths)
  cycle_T = np.repeat([_CYCLE[action] for action in actions], lengths)
  # in the first frame nothing has moved yet
  path_T = np.cumsum(speed_T) - speed_T[0]
  low, high = x_range(first.size)
  span = path_T.max() - path_T.min()
  path_T = path_T * min(1.0, (high - low) / max(span, 1e-6))
  slack = high - low - (path_T.max() - path_T.min())
  x_T = low - path_T.min() + where * slack + path_T
  lift_T = np.concatenate(
    [_lift(a, n) for a, n in zip(actions, lengths, strict=True)]
  )
  pan = PAN if world.CAMERAS[first.camera] == 'pan' else 0.0
  offset_T = np.minimum(pan * np.arange(total), places.MAX_PAN - 1)
  hue, shape, pattern = world.APPEARANCES[appearances[first.character]]

  def whole(value: int) -> np.ndarray:
    return np.full(total, value, np.int32)

  def real(values_T: np.ndarray) -> np.ndarray:
    return np.asarray(values_T, np.float32)

  return Frames(
    place=whole(first.place),
    size=whole(first.size),
    offset=real(offset_T),
    hue=whole(hue),
    shape=whole(shape),
    pattern=whole(pattern),
    x=real(x_T),
    lift=real(lift_T * JUMP * sprites.BODY[first.size]),
    step=real(np.cumsum(2 * np.pi / cycle_T)),
    gait=real(np.abs(speed_T) > 0),
    gaze=real(np.sign(speed_T)),
  )


def _lift(action: str, length: int) -> np.ndarray:
  """Heights above the ground of a segment's frames, in heights of a jump."""
  if action != 'jumps':
    return np.zeros(length)
  jumps = max(1, round(length / 12))
  return np.abs(np.sin(np.pi * jumps * (np.arange(length) + 0.5) / length))
