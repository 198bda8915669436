import hypothesis
import pytest
from hypothesis import strategies as st

from cinejax.film.timeline import Timeline

timelines = st.builds(
  Timeline,
  frames_per_chunk=st.sampled_from([1, 3]),
  stride=st.sampled_from([1, 4]),
  fps=st.sampled_from([8.0, 16.0, 24.0]),
)
small = st.integers(0, 400)


def _pixels_by_counting(timeline, n_chunks):
  """Pixel frames as (latent, chunk) pairs, laid down one after another."""
  pixels = []
  for latent in range(n_chunks * timeline.frames_per_chunk):
    width = timeline.stride if latent else 1
    pixels += [(latent, latent // timeline.frames_per_chunk)] * width
  return pixels


@hypothesis.given(timelines, st.integers(0, 12))
def test_every_frame_lies_where_counting_puts_it(timeline, n_chunks):
  pixels = _pixels_by_counting(timeline, n_chunks)
  assert timeline.pixel_frames(n_chunks) == len(pixels)
  for pixel, (latent, chunk) in enumerate(pixels):
    assert timeline.latent_of_pixel(pixel) == latent
    assert timeline.chunk_of_pixel(pixel) == chunk
  for chunk in range(n_chunks):
    first = [owner for _, owner in pixels].index(chunk)
    assert timeline.chunk_start_pixel(chunk) == first


@pytest.mark.parametrize(
  ('stride', 'frames', 'starts', 'total'),
  [
    (4, 3, (0, 9, 21, 33), 45),
    (4, 1, (0, 1, 5, 9), 13),
    (1, 3, (0, 3, 6, 9), 12),
    (1, 1, (0, 1, 2, 3), 4),
  ],
)
def test_known_lengths(stride, frames, starts, total):
  timeline = Timeline(frames, stride, 16)
  assert tuple(map(timeline.chunk_start_pixel, range(4))) == starts
  assert timeline.pixel_frames(4) == total


@hypothesis.given(timelines, small)
def test_a_latent_starts_at_its_first_pixel(timeline, latent):
  start = timeline.latent_start_pixel(latent)
  assert timeline.latent_of_pixel(start) == latent
  assert start == 0 or timeline.latent_of_pixel(start - 1) == latent - 1


@hypothesis.given(timelines, small)
def test_whole_chunks_in_is_the_most_that_fit(timeline, pixels):
  chunks = timeline.whole_chunks_in(pixels)
  assert timeline.pixel_frames(chunks) <= pixels
  assert pixels < timeline.pixel_frames(chunks + 1)


@hypothesis.given(timelines, small)
def test_the_nearest_chunk_starts_nearest(timeline, pixel):
  starts = [timeline.chunk_start_pixel(chunk) for chunk in range(402)]
  nearest = timeline.nearest_chunk(pixel)
  apart = abs(starts[nearest] - pixel)
  assert apart == min(abs(start - pixel) for start in starts)
  assert timeline.nearest_chunk(starts[nearest]) == nearest


@hypothesis.given(timelines, st.lists(st.integers(0, 90), max_size=8))
def test_trimmed_shots_are_whole_chunks(timeline, lengths):
  chunks, pixels = _trimmed(timeline, lengths)
  assert sum(pixels) == timeline.pixel_frames(sum(chunks))
  for length, kept, n_chunks in zip(lengths, pixels, chunks, strict=True):
    assert 0 <= kept <= length
    assert length < kept + timeline.chunk_pixels
    assert (kept == 0) == (n_chunks == 0)


def _trimmed(timeline, lengths):
  """Chunks and pixel frames of each shot of a film."""
  chunks, pixels = [], []
  for length in lengths:
    opens = not any(chunks)
    chunks.append(timeline.shot_chunks(length, opens))
    pixels.append(timeline.shot_pixels(chunks[-1], opens))
  return tuple(chunks), tuple(pixels)


def test_trimmed_shots_by_hand():
  timeline = Timeline(3, 4, 16)
  assert _trimmed(timeline, [8, 10, 11, 30]) == ((0, 1, 0, 2), (0, 9, 0, 24))
  assert _trimmed(Timeline(3, 1, 16), [2, 10, 3])[1] == (0, 9, 3)


@hypothesis.given(timelines, st.floats(0, 60))
def test_seconds_become_the_nearest_chunks(timeline, secs):
  chunks = timeline.chunks_for_secs(secs)
  assert chunks >= 1
  if chunks > 1:
    error = abs(chunks * timeline.chunk_secs - secs)
    assert error <= timeline.chunk_secs / 2 + 1e-9


def test_a_timeline_without_time_is_refused():
  with pytest.raises(ValueError, match='positive'):
    Timeline(3, 0, 16)
