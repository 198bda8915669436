"""How well a server serves: directors who watch, and keep asking.

Each of D directors says a new prompt every few chunks, at any moment of a
chunk, every other one a cut. Of a film whose chunks went on screen at
s_1 .. s_n and hold f_c frames, d seconds each,

  screen_fps = (f_1 + .. + f_n) / (s_n + d_n - s_1)                        (1)

which is the film's rate if no chunk was late. Latency is from a direction at
time t to the first frame under it, of chunk n, leaving the queue for its
viewer's socket. Chunk n - 1 is in flight until it goes on screen: nothing may
be made further ahead. What is left was nobody's to take:

  over = latency - max(0, s_(n-1) - t) - (time to make chunk n)            (2)
"""

import asyncio
import contextlib
import itertools
import json
import pathlib
import random
import tempfile
import time
from typing import NamedTuple

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.serving.studio import Studio
from cinejax.serving.viewer import Viewer
from cinejax.story.casting import cast

_CHUNKS_BETWEEN = 3  # prompts


class Answer(NamedTuple):
  """What came of a direction; seconds, see eq. (2)."""

  latency: float
  flight: float  # until chunk n - 1 was on screen
  made: float  # to make chunk n

  @property
  def over(self) -> float:
    return self.latency - self.flight - self.made


class Served(NamedTuple):
  """What one director got."""

  frames: int
  screen_fps: float  # eq. (1)
  answers: list[Answer]
  ahead_secs: float  # from the coming of a chunk to its time, at most
  dropped: int  # frames


def serve(director: Director, directors: int, secs: float) -> list[Served]:
  """What each of them got, directing at once for `secs` seconds.

  And for as long as it takes until each has been answered.
  """
  with tempfile.TemporaryDirectory() as folder:
    return _serve(director, directors, secs, pathlib.Path(folder))


def _serve(
  director: Director, directors: int, secs: float, folder: pathlib.Path
) -> list[Served]:
  studio = Studio(director, folder)
  studio.start()

  async def all_of_them() -> list[Served]:
    asking = (_direct(studio, n, secs) for n in range(directors))
    return await asyncio.gather(*asking)

  try:
    return asyncio.run(all_of_them())
  finally:
    studio.stop(60)


async def _direct(studio: Studio, number: int, secs: float) -> Served:
  queue = 3 * studio.director.timeline.chunk_pixels
  name = studio.create(seed=number)['id']
  viewer = Viewer(asyncio.get_running_loop(), 'jpeg', queue)
  studio.watch(name, viewer)
  said: dict[int, float] = {}  # when, by the chunk it falls on
  asking = asyncio.create_task(_ask(studio, name, number, said))
  try:
    return await _watch(studio, viewer, said, _now() + secs)
  finally:
    asking.cancel()
    studio.unwatch(name, viewer)


async def _ask(
  studio: Studio, name: str, number: int, said: dict[int, float]
) -> None:
  """Says one prompt after another, for as long as a film may be."""
  segments = cast('long', studio.director.cfg.eval.seed, number).screenplay()
  prompts = itertools.cycle(segment.prompt for segment in segments.segments)
  between = _CHUNKS_BETWEEN * studio.director.timeline.chunk_secs
  draw = random.Random(number)
  with contextlib.suppress(UserError):
    for cut in itertools.cycle((False, True)):
      direction = {'do': 'prompt', 'prompt': next(prompts), 'cut': cut}
      when = _now()
      said.setdefault(studio.direct(name, direction)['chunk'], when)
      await asyncio.sleep(draw.uniform(0.7, 1.3) * between)


async def _watch(
  studio: Studio, viewer: Viewer, said: dict[int, float], end: float
) -> Served:
  fps = studio.director.timeline.fps
  starts, counts, answers, ahead, event = [], [], [], 0.0, None
  while not answers or _now() < end:
    one = await viewer.next()
    if isinstance(one, bytes):
      if event is not None and event['chunk'] in said:
        asked = said.pop(event['chunk'])
        shown = starts[-2] if len(starts) > 1 else asked
        flight, made = max(0.0, shown - asked), event['generation_ms'] / 1e3
        answers.append(Answer(_now() - asked, flight, made))
      continue
    told = json.loads(one)
    if told['type'] == 'chunk':
      event, wait = told, told['starts_in_ms'] / 1e3
      starts.append(_now() + wait)
      counts.append(told['frames'])
      ahead = max(ahead, wait)
    elif told.get('status') == 'failed':
      raise RuntimeError(told['reason'])
    elif told.get('status') == 'paused':  # the longest film has been made
      break
  span = starts[-1] - starts[0] + counts[-1] / fps
  return Served(sum(counts), sum(counts) / span, answers, ahead, viewer.dropped)


def _now() -> float:
  return time.perf_counter()
