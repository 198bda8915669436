"""How well a server serves: directors who watch, and keep asking.

Each of D directors says a new prompt every few chunks, every other one a cut.
Of a film whose chunks went on screen at s_1 .. s_n and hold f_c frames, d
seconds each,

  screen_fps = (f_1 + .. + f_n) / (s_n + d_n - s_1)                        (1)

which is the film's rate if no chunk was late; latency is from a direction to
the first frame under it leaving the queue for its viewer's socket.
"""

import asyncio
import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from cinejax.director import Director
from cinejax.serving.studio import Studio
from cinejax.serving.viewer import Viewer
from cinejax.story.casting import cast

_CHUNKS_BETWEEN = 3  # prompts


class Served(NamedTuple):
  """What one director got."""

  frames: int
  screen_fps: float  # eq. (1)
  latency_secs: list[float]
  ahead_secs: float  # from the coming of a chunk to its time, at most
  dropped: int  # frames


def serve(director: Director, directors: int, secs: float) -> list[Served]:
  """What each of them got, directing at once for `secs` seconds."""
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
  cfg, timeline = studio.director.cfg, studio.director.timeline
  segments = cast('long', cfg.eval.seed, number).screenplay().segments
  prompts = itertools.cycle(segment.prompt for segment in segments)
  name = studio.create(seed=number)['id']
  queue = 3 * timeline.chunk_pixels
  viewer = Viewer(asyncio.get_running_loop(), 'jpeg', queue)
  studio.watch(name, viewer)
  said: dict[int, float] = {}  # when, by the chunk it falls on

  def say(cut: bool) -> None:
    direction = {'do': 'prompt', 'prompt': next(prompts), 'cut': cut}
    said.setdefault(studio.direct(name, direction)['chunk'], _now())

  say(cut=False)
  starts, counts, latencies, ahead, waited = [], [], [], 0.0, None
  async for one in _for_secs(viewer, secs):
    if isinstance(one, bytes):
      if waited is not None:
        latencies.append(_now() - waited)
        waited = None
      continue
    event = json.loads(one)
    if event['type'] != 'chunk':
      continue
    wait = event['starts_in_ms'] / 1e3
    starts.append(_now() + wait)
    counts.append(event['frames'])
    ahead, waited = max(ahead, wait), said.pop(event['chunk'], None)
    if len(starts) % _CHUNKS_BETWEEN == 0:
      say(cut=bool(len(starts) % (2 * _CHUNKS_BETWEEN)))
  studio.unwatch(name, viewer)
  span = starts[-1] - starts[0] + counts[-1] / timeline.fps
  return Served(
    sum(counts), sum(counts) / span, latencies, ahead, viewer.dropped
  )


async def _for_secs(viewer: Viewer, secs: float) -> AsyncIterator[str | bytes]:
  """What comes in that time, be it little."""
  end = _now() + secs
  while (left := end - _now()) > 0:
    try:
      one = await asyncio.wait_for(viewer.next(), left)
    except TimeoutError:
      return
    if one is None:
      return
    yield one


def _now() -> float:
  return time.perf_counter()
