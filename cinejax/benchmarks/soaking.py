"""Measures the memory of a server over a long time.

Each film has a viewer who reads all frames and sends a new prompt every few
chunks, and one who scrubs: this one asks for the state of the film, the stills
of any chunk and a thumbnail, ten times a second, as the page does. They run in
the process of the server, and are part of its memory. Two figures are read in
equal intervals:

  own   anonymous pages: the heap of Python, NumPy and XLA
  all   with the pages of files, such as libraries, which the system can drop
"""

import contextlib
import dataclasses
import http.client
import itertools
import json
import pathlib
import random
import re
import tempfile
import threading
import time
from typing import NamedTuple

from cinejax.benchmarks.http_server import HttpServer
from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.serving.budget import limit_heap_arenas
from cinejax.serving.studio import Studio
from cinejax.story.casting import cast

_STATUS = pathlib.Path('/proc/self/status')
_SAMPLES = 30
_SCRUB_SECS = 0.1  # between two looks of a scrubbing viewer
_CHUNKS_BETWEEN = 5  # prompts


class MemorySample(NamedTuple):
  """The memory of the process at some moment."""

  secs: float  # since the first sample
  own_bytes: int
  all_bytes: int


class SoakResult(NamedTuple):
  """What happened in the measured time."""

  samples: list[MemorySample]
  chunks: int  # of all films
  seeks: int
  screen_fps: float  # frames per second that the viewers received, of a film


def soak(director: Director, films: int, secs: float) -> SoakResult:
  """Serves several films with viewers for `secs`, after a tenth of it.

  The first tenth, in which memory is still growing, is not measured. Raises
  UserError if the system does not say how much memory a process has, or if
  the packages of the server are not installed.
  """
  if not _STATUS.exists():
    raise UserError('--what=soak reads /proc/self/status, which is not here')
  limit_heap_arenas()
  cfg = director.cfg
  most = int(1.2 * secs / director.timeline.chunk_secs) + 100
  serving = dataclasses.replace(
    cfg.serving, film_chunks=max(most, cfg.serving.film_chunks)
  )
  director = dataclasses.replace(
    director, cfg=dataclasses.replace(cfg, serving=serving)
  )
  with tempfile.TemporaryDirectory() as folder:
    studio = Studio(director, pathlib.Path(folder))
    studio.start()
    try:
      with HttpServer(studio) as port:
        return _soak(studio, port, films, secs)
    finally:
      studio.stop(60)


def _soak(studio: Studio, port: int, films: int, secs: float) -> SoakResult:
  names = [studio.create(seed=number)['id'] for number in range(films)]
  viewers = [_Viewer(studio, port, *one) for one in enumerate(names)]
  for viewer in viewers:
    viewer.start()
  try:
    time.sleep(secs / 10)
    before, start = _counts(studio, names, viewers), time.monotonic()
    samples = [MemorySample(0.0, *process_memory())]
    for number in range(1, _SAMPLES + 1):
      time.sleep(max(0.0, start + number * secs / _SAMPLES - time.monotonic()))
      samples.append(MemorySample(time.monotonic() - start, *process_memory()))
    after = _counts(studio, names, viewers)
  finally:
    for viewer in viewers:
      viewer.stop()
  chunks, seeks, frames = (b - a for a, b in zip(before, after, strict=True))
  for viewer in viewers:
    if viewer.error is not None:
      raise viewer.error
  fps = frames / samples[-1].secs / films
  return SoakResult(samples, chunks, seeks, fps)


def _counts(
  studio: Studio, names: list[str], viewers: 'list[_Viewer]'
) -> tuple[int, int, int]:
  chunks = sum(studio.describe(name)['chunks'] for name in names)
  seeks = sum(viewer.seeks for viewer in viewers)
  return chunks, seeks, sum(viewer.frames for viewer in viewers)


def process_memory() -> tuple[int, int]:
  """Own and all bytes of this process, read from /proc."""
  fields = dict(re.findall(r'(\w+):\s+(\d+) kB', _STATUS.read_text()))
  own, resident = (1024 * int(fields[name]) for name in ('RssAnon', 'VmRSS'))
  return own, resident


class _Viewer:
  """Watches and directs one film on a thread, and scrubs it on another."""

  def __init__(self, studio: Studio, port: int, number: int, name: str):
    self.frames = self.seeks = 0
    self.error: Exception | None = None
    self._address, self._name = f'127.0.0.1:{port}', name
    film = cast('long', studio.director.cfg.eval.seed, number).screenplay()
    prompts = [segment.prompt for segment in film.segments]
    self._directions = itertools.cycle(
      {'do': 'prompt', 'prompt': prompt, 'cut': cut}
      for prompt, cut in itertools.product(prompts, (False, True))
    )
    self._stop = threading.Event()
    self._threads = [
      threading.Thread(target=self._run, args=(work,), daemon=True)
      for work in (self._watch, self._scrub)
    ]

  def start(self) -> None:
    for thread in self._threads:
      thread.start()

  def stop(self) -> None:
    self._stop.set()
    for thread in self._threads:
      thread.join(10)

  def _run(self, work) -> None:
    try:
      work()
    except Exception as error:
      self.error = error

  def _watch(self) -> None:
    from websockets.sync.client import connect

    where = f'ws://{self._address}/sessions/{self._name}/live'
    with connect(where, close_timeout=1) as live:
      live.send(json.dumps(next(self._directions)))
      chunks = 0
      while not self._stop.is_set():
        with contextlib.suppress(TimeoutError):
          message = live.recv(timeout=1)
          if isinstance(message, bytes):
            self.frames += 1
            continue
          chunks += json.loads(message)['type'] == 'chunk'
          if chunks == _CHUNKS_BETWEEN:
            chunks = 0
            live.send(json.dumps(next(self._directions)))

  def _scrub(self) -> None:
    draw = random.Random(self._name)
    client = http.client.HTTPConnection(self._address, timeout=60)
    with contextlib.closing(client):
      while not self._stop.wait(_SCRUB_SECS):
        chunks = json.loads(self._get(client, ''))['chunks']
        if chunks:
          chunk = draw.randrange(chunks)
          self._get(client, f'/stills/{chunk}')
          self._get(client, f'/frames/{chunk}.jpg')
          self.seeks += 1

  def _get(self, client: http.client.HTTPConnection, path: str) -> bytes:
    client.request('GET', f'/sessions/{self._name}{path}')
    answer = client.getresponse()
    data = answer.read()
    if answer.status != 200:
      raise RuntimeError(f'{path}: {answer.status} {data[:200]!r}')
    return data
