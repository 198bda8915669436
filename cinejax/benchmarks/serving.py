"""Measures a server with viewers who watch films and keep directing them.

Each viewer sends a new prompt every few chunks, at a random moment of a chunk;
every other prompt is a cut. For a film whose chunks appear on screen at times
s_1 .. s_n and have f_c frames that last d_c seconds,

  screen_fps = (f_1 + .. + f_n) / (s_n + d_n - s_1)                        (1)

which is the frame rate of the film if no chunk is late. The latency of a
direction at time t ends when the first frame that follows it, of chunk n,
leaves the queue for the viewer's socket. Chunk n - 1 is in flight until it
appears on screen, because a server makes no chunk further ahead. The rest of
the latency, beside the generation of chunk n, is overhead:

  overhead = latency - max(0, s_(n-1) - t) - (time to make chunk n)        (2)
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


class DirectionLatency(NamedTuple):
  """The latency of a direction and its parts of eq. (2), in seconds."""

  total: float
  in_flight: float  # until chunk n - 1 was on screen
  generation: float  # of chunk n

  @property
  def overhead(self) -> float:
    """Eq. (2)."""
    return self.total - self.in_flight - self.generation


class ViewerResult(NamedTuple):
  """What one viewer received."""

  frames: int
  screen_fps: float  # eq. (1)
  latencies: list[DirectionLatency]
  lead_secs: float  # longest time from a chunk's arrival until it is on screen
  dropped: int  # frames


def serve(director: Director, viewers: int, secs: float) -> list[ViewerResult]:
  """Serves several viewers at once; returns what each received.

  Args:
    director: makes their films.
    viewers: how many.
    secs: how long they watch, at least; each waits until one of its directions
      is on screen.
  """
  with tempfile.TemporaryDirectory() as folder:
    return _serve(director, viewers, secs, pathlib.Path(folder))


def _serve(
  director: Director, viewers: int, secs: float, folder: pathlib.Path
) -> list[ViewerResult]:
  studio = Studio(director, folder)
  studio.start()

  async def serve_all() -> list[ViewerResult]:
    directing = (_direct(studio, n, secs) for n in range(viewers))
    return await asyncio.gather(*directing)

  try:
    return asyncio.run(serve_all())
  finally:
    studio.stop(60)


async def _direct(studio: Studio, number: int, secs: float) -> ViewerResult:
  queue = 3 * studio.director.timeline.chunk_pixels
  name = studio.create(seed=number)['id']
  viewer = Viewer(asyncio.get_running_loop(), 'jpeg', queue)
  studio.watch(name, viewer)
  sent: dict[int, float] = {}  # chunk -> time of the direction it follows
  sending = asyncio.create_task(_send_directions(studio, name, number, sent))
  try:
    return await _watch(studio, viewer, sent, _now() + secs)
  finally:
    sending.cancel()
    studio.unwatch(name, viewer)


async def _send_directions(
  studio: Studio, name: str, number: int, sent: dict[int, float]
) -> None:
  """Sends one prompt after another, until the film has its greatest length."""
  film = cast('long', studio.director.cfg.eval.seed, number).screenplay()
  prompts = itertools.cycle(segment.prompt for segment in film.segments)
  between = _CHUNKS_BETWEEN * studio.director.timeline.chunk_secs
  rng = random.Random(number)
  with contextlib.suppress(UserError):
    for cut in itertools.cycle((False, True)):
      direction = {'do': 'prompt', 'prompt': next(prompts), 'cut': cut}
      when = _now()
      sent.setdefault(studio.direct(name, direction)['chunk'], when)
      await asyncio.sleep(rng.uniform(0.7, 1.3) * between)


async def _watch(
  studio: Studio, viewer: Viewer, sent: dict[int, float], end: float
) -> ViewerResult:
  fps = studio.director.timeline.fps
  starts, counts, latencies, lead, event = [], [], [], 0.0, None
  while not latencies or _now() < end:
    message = await viewer.next()
    if isinstance(message, bytes):  # a frame
      if event is not None and event['chunk'] in sent:
        time_sent = sent.pop(event['chunk'])
        shown = starts[-2] if len(starts) > 1 else time_sent
        latency = DirectionLatency(
          total=_now() - time_sent,
          in_flight=max(0.0, shown - time_sent),
          generation=event['generation_ms'] / 1e3,
        )
        latencies.append(latency)
      continue
    parsed = json.loads(message)
    if parsed['type'] == 'chunk':
      event, wait = parsed, parsed['starts_in_ms'] / 1e3
      starts.append(_now() + wait)
      counts.append(parsed['frames'])
      lead = max(lead, wait)
    elif parsed.get('status') == 'failed':
      raise RuntimeError(parsed['reason'])
    elif parsed.get('status') == 'paused':  # the film has its greatest length
      break
  span = starts[-1] - starts[0] + counts[-1] / fps
  return ViewerResult(
    frames=sum(counts),
    screen_fps=sum(counts) / span,
    latencies=latencies,
    lead_secs=lead,
    dropped=viewer.dropped,
  )


def _now() -> float:
  return time.perf_counter()
