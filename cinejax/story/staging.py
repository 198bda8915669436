"""Place, size, camera and action of each segment of a cast film.

Neighbouring shots differ in place, so that each cut can be seen. As far as the
lengths of shots allow, half as many segments as there are shots continue a
shot: about a third of all segments change the action and nothing else.
"""

from typing import NamedTuple

from cinejax.story import world

MAX_SHOT = 3  # chunks
_PAN = 0.35  # chance of a panning camera


class Shot(NamedTuple):
  """A shot of one character, `chunks` long."""

  character: int
  chunks: int
  picture: bool = False  # as world.StorySegment has it


def stage(rng, shots: list[Shot]) -> tuple[world.StorySegment, ...]:
  """Draws the segments of `shots` with the numpy generator `rng`."""
  inner = [
    (s, c) for s, shot in enumerate(shots) for c in range(1, shot.chunks)
  ]
  wanted = min(len(inner), int(len(shots) / 2 + rng.random()))
  splits = {inner[i] for i in rng.permutation(len(inner))[:wanted]}
  segments: list[world.StorySegment] = []
  for number, shot in enumerate(shots):
    place = _other(rng, len(world.PLACES), segments[-1:], 'place')
    size = int(rng.integers(len(world.SIZES)))
    camera = int(rng.random() < _PAN)
    if shot.picture:
      segments.append(world.picture_segment(shot.character, place, number > 0))
      continue
    marks = [0, *sorted(c for s, c in splits if s == number), shot.chunks]
    for part in range(len(marks) - 1):
      before = segments[-1:] if part else []
      segments.append(
        world.StorySegment(
          character=shot.character,
          place=place,
          size=size,
          camera=camera,
          action=_other(rng, len(world.ACTIONS), before, 'action'),
          chunks=marks[part + 1] - marks[part],
          cut=part == 0 and number > 0,
        )
      )
  return tuple(segments)


def _other(rng, count: int, before: list[world.StorySegment], field) -> int:
  """Draws one of `count` values, but not that of the segment `before`."""
  taken = [getattr(segment, field) for segment in before]
  return int(rng.choice([v for v in range(count) if v not in taken]))
