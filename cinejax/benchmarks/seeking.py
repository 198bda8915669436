"""Measures how long a viewer waits for a frame after a seek in a long film.

A server has a film of random pictures, and rolls another film at the same time.
A client asks for the stills of random chunks of the first one over HTTP, one
after another on a connection that stays open, as the page does. A seek ends
when the wanted frame is decoded:

  seek = request + reading of the chunk + transfer + decoding of one JPEG    (1)

The pictures are noise, which JPEG compresses worse than those of any model, so
more bytes are read and sent for each seek than for a real film.
"""

import http.client
import io
import pathlib
import random
import struct
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from cinejax.benchmarks.http_server import HttpServer
from cinejax.directing.director import Director
from cinejax.film.journal import Segment
from cinejax.film.media import encode_frame
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.spool import pack_stills
from cinejax.serving.film.thumbnails import thumbnail
from cinejax.serving.studio import Studio

_PICTURES = 8  # different chunks of the film, again and again


class SeekResult(NamedTuple):
  """What the client saw."""

  secs: list[float]  # eq. (1) of each seek
  film_secs: float  # length of the film
  chunk_bytes: int  # stills of a chunk, on average


def seek(director: Director, film_secs: float, seeks: int) -> SeekResult:
  """Seeks in a film of `film_secs`, or of the greatest length if that is less.

  Raises UserError if the packages of the server are not installed.
  """
  with tempfile.TemporaryDirectory() as folder:
    studio = Studio(director, pathlib.Path(folder))
    studio.start()
    try:
      return _seek(studio, film_secs, seeks)
    finally:
      studio.stop(60)


def _seek(studio: Studio, film_secs: float, seeks: int) -> SeekResult:
  timeline = studio.director.timeline
  count = min(
    timeline.chunks_for_secs(film_secs), studio.registry.cfg.film_chunks
  )
  watched, rolled = (studio.create(seed=n)['id'] for n in range(2))
  with studio.registry.changed:
    live_film = studio.registry.sessions[watched].live_film
    _fill(live_film, studio.director, count)
  studio.direct(rolled, {'do': 'prompt', 'prompt': 'a film'})
  draw, found, received = random.Random(0), [], 0
  with HttpServer(studio) as port:
    client = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    for _ in range(seeks):
      chunk, share = draw.randrange(count), draw.random()
      start = time.perf_counter()
      client.request('GET', f'/sessions/{watched}/stills/{chunk}')
      data = client.getresponse().read()
      _decode(data, share)
      found.append(time.perf_counter() - start)
      received += len(data)
    client.close()
  film_secs = timeline.pixel_frames(count) / timeline.fps
  return SeekResult(found, film_secs, received // seeks)


def _fill(live_film: LiveFilm, director: Director, count: int) -> None:
  """Gives a film `count` chunks of noise, after which it is not continued."""
  rng = np.random.default_rng(0)
  size = director.cfg.film.height, director.cfg.film.width, 3
  latents_FYXC = np.zeros(director.latent_shape, np.float32)

  def chunk() -> tuple[np.ndarray, list[bytes], bytes]:
    frames = director.timeline.chunk_pixels
    video_TYXC = rng.integers(0, 256, (frames, *size), np.uint8)
    thumbnails = [thumbnail(video_TYXC[0])] * director.latent_shape[0]
    stills = pack_stills([encode_frame(one) for one in video_TYXC])
    return latents_FYXC, thumbnails, stills

  chunks = [chunk() for _ in range(min(_PICTURES, count))]

  def repeated() -> Iterator[tuple[np.ndarray, list[bytes], bytes]]:
    for number in range(count):
      yield chunks[number % len(chunks)]

  live_film.store((Segment('noise', chunks=count),), repeated())
  # Any state will do, so that no chunk is generated again.
  live_film.begin((count, live_film.snapshot()))


def _decode(data: bytes, share: float) -> None:
  """Decodes the frame at this share of a chunk's stills."""
  (count,) = struct.unpack_from('>I', data)
  sizes = struct.unpack_from(f'>{count}I', data, 4)
  index = int(share * count)
  start = 4 * (count + 1) + sum(sizes[:index])
  Image.open(io.BytesIO(data[start : start + sizes[index]])).load()
