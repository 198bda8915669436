"""Readings agree with what was rendered, also through blur and noise."""

import jax
import numpy as np
import pytest

from cinejax.film.timeline import Timeline
from cinejax.story import casting, motion, places, read_back, render, world

_LINE = Timeline(3, 4, world.FPS)


def _blur(video_TYXC, sigma):
  reach = np.arange(-4, 5)
  kernel = np.exp(-0.5 * (reach / sigma) ** 2)
  kernel /= kernel.sum()
  out = video_TYXC.astype(np.float64)
  for axis in (1, 2):
    wide = np.pad(
      out, [(4, 4) if a == axis else (0, 0) for a in range(4)], 'edge'
    )
    rolled = [np.take(wide, range(i, i + 64), axis) for i in range(9)]
    out = sum(w * part for w, part in zip(kernel, rolled, strict=True))
  return out


def _lossy(video_TYXC, sigma=0.7, noise=6.0):
  rng = np.random.default_rng(0)
  out = _blur(video_TYXC, sigma) + rng.normal(0, noise, video_TYXC.shape)
  return np.clip(np.round(out), 0, 255).astype(np.uint8)


def _agreement(films, spoil):
  """The shares of frames, and of segments, that are read correctly."""
  frames, segments = [], []
  for film in films:
    states = motion.describe(film)
    readings = read_back.read_frames(spoil(render.render(film)))
    appearances = [
      world.APPEARANCES.index(appearance)
      for appearance in zip(
        states.hue, states.shape, states.pattern, strict=True
      )
    ]
    frames += zip(
      readings.appearance == appearances,
      readings.place == states.place,
      readings.size == states.size,
      np.abs(readings.x - states.x) < 1,
      readings.readable,
      strict=True,
    )
    chunk = 0
    for s in film.segments:
      start = _LINE.chunk_start_pixel(chunk)
      chunk += s.chunks
      shot = read_back.read_shot(
        readings, start, _LINE.chunk_start_pixel(chunk)
      )
      segments.append(
        (
          shot.appearance == film.appearances[s.character],
          shot.place == s.place,
          shot.size == s.size,
          shot.action == s.action,
        )
      )
  return np.mean(frames, 0), np.mean(segments, 0)


def test_clean_films_are_read_right():
  films = [casting.cast('eval', 21, index) for index in range(4)]
  frames, segments = _agreement(films, lambda video_TYXC: video_TYXC)
  assert frames.min() >= 0.99
  assert segments.min() >= 0.99


def test_blur_and_noise_do_not_matter():
  films = [casting.cast('eval', 22, index) for index in range(3)]
  frames, segments = _agreement(films, _lossy)
  assert frames.min() >= 0.97
  assert segments.min() >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize('spoil, share', [(np.asarray, 0.99), (_lossy, 0.98)])
def test_many_films(spoil, share):
  films = [casting.cast('eval', 23, index) for index in range(48)]
  frames, segments = _agreement(films, spoil)
  assert frames.min() >= share
  assert segments.min() >= share


def test_all_appearances_are_distinguished_in_all_sizes_and_places():
  """One frame of each, at the least favourable position: half a cell off."""
  appearances, shots, spots = np.meshgrid(
    np.arange(len(world.APPEARANCES)),
    np.arange(len(world.SIZES)),
    np.arange(len(world.PLACES)),
    indexing='ij',
  )
  appearance_T, size_T, place_T = (
    appearances.ravel(),
    shots.ravel(),
    spots.ravel(),
  )
  parts = np.asarray(world.APPEARANCES)[appearance_T].T
  still_T = np.zeros(len(appearance_T), np.float32)
  states = motion.Frames(
    place=place_T,
    size=size_T,
    offset=still_T,
    hue=parts[0],
    shape=parts[1],
    pattern=parts[2],
    x=still_T + np.float32(31.3),
    lift=still_T,
    step=still_T,
    gait=still_T,
    gaze=still_T,
  )
  readings = read_back.read_frames(np.asarray(jax.jit(render.paint)(states)))
  assert np.all(readings.place == place_T)
  assert np.all(readings.size == size_T)
  assert np.mean(readings.appearance == appearance_T) >= 0.99


def test_empty_places_noise_and_flat_colours_are_unreadable():
  empty = 255 * places.atlas()[:, :, 0, :, :64].reshape(-1, 64, 64, 3)
  noise = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3))
  flat = np.full(
    (4, 64, 64, 3), np.array([0, 90, 180, 255])[:, None, None, None]
  )
  video_TYXC = np.concatenate([empty, noise, flat]).astype(np.uint8)
  readings = read_back.read_frames(video_TYXC)
  assert not readings.readable.any()
  assert np.all(readings.appearance == -1)
  shot = read_back.read_shot(readings, 0, 8)
  assert (shot.appearance, shot.action) == (-1, -1)
  assert np.isnan(shot.x)
