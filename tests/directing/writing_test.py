"""A film takes the memory of a few chunks, however long it is."""

import os
import pathlib
import subprocess
import sys
import tracemalloc
import types
import weakref

import numpy as np
import pytest

from cinejax import direct
from cinejax.config import resolve
from cinejax.directing.writing import write_film
from cinejax.film import media
from cinejax.film.screenplay import Film, Segment
from cinejax.film.timeline import Timeline
from configs import tiny

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHUNK = 12  # frames


def smooth_noise(rng, height, width):
  """Random frames that an encoder can follow."""
  small = rng.integers(0, 255, (CHUNK, height // 16, width // 16, 3), np.uint8)
  return small.repeat(16, 1).repeat(16, 2)


def noise_director(height, width, fps, alive=None):
  """Generates random chunks; `alive` gets the number of those still held."""
  config = tiny.get_config()
  config.film.height, config.film.width, config.film.fps = height, width, fps
  rng, held = np.random.default_rng(0), []

  def roll(prompts, seeds, given, observe, cast):
    for _ in prompts:
      video_BTYXC = smooth_noise(rng, height, width)[None]
      if alive is not None:
        held.append(weakref.ref(video_BTYXC))
        alive.append(sum(one() is not None for one in held))
      yield video_BTYXC

  return types.SimpleNamespace(
    cfg=resolve(config), timeline=Timeline(3, 4, fps), roll=roll
  )


def film_of(chunks):
  segments = (Segment('a dog', chunks=1), Segment('a cat', chunks=chunks - 1))
  return Film(segments)


def test_no_more_than_a_few_chunks_are_held(tmp_path):
  alive, chunk_bytes = [], CHUNK * 256 * 320 * 3
  director = noise_director(256, 320, 8, alive)
  tracemalloc.start()
  try:
    figures = direct.direct(director, film_of(16), tmp_path, 0)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert figures['frames'] == 16 * CHUNK == len(alive) * CHUNK
  assert max(alive) <= 2  # of 16
  assert peak < 5 * chunk_bytes
  assert (tmp_path / 'contact_sheet.png').is_file()


def test_viewers_see_the_frames_that_are_written(tmp_path):
  seen = []
  director = noise_director(256, 320, 8)
  write_film(director, [None] * 2, tmp_path / 'a.mp4', 0, viewers=[seen.append])
  written = list(media.read_frames(tmp_path / 'a.mp4'))
  assert len(seen) == len(written) == 2 * CHUNK
  for a, b in zip(seen, written, strict=True):
    assert np.abs(a.astype(int) - b).mean() < 20  # H.264 blurs edges


LENGTHS = 40, 120  # chunks: 30 and 90 seconds at 16 fps
TEN_MINUTES = 800
LONG = f"""
import pathlib, resource, sys
from cinejax import direct
from tests.directing.writing_test import CHUNK, film_of, noise_director
for chunks in {LENGTHS}:
  director = noise_director(480, 832, 16)
  folder = pathlib.Path(sys.argv[1]) / str(chunks)
  figures = direct.direct(director, film_of(chunks), folder, 0)
  assert figures['frames'] == chunks * CHUNK, figures
  print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_minutes_of_480p_stay_under_a_gigabyte(tmp_path):
  """A longer film has the peak of a shorter one, in one process.

  Ten minutes would take too long to encode: their peak is where the line
  through both peaks leads.
  """
  done = subprocess.run(
    [sys.executable, '-c', LONG, str(tmp_path)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
  )
  assert done.returncode == 0, done.stderr
  short, long = map(int, done.stdout.split())  # KB, with Python, JAX and FFmpeg
  print(f'peaks: {short} and {long} KB')
  chunks = LENGTHS[1] - LENGTHS[0]
  frames = chunks * CHUNK * 480 * 832 * 3 / 1024  # KB of what was added
  assert long - short < frames / 20
  growth = (long - short) / chunks
  assert long + growth * (TEN_MINUTES - LENGTHS[1]) < 1_000_000
