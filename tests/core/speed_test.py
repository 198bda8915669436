import pytest

from cinejax.core.speed import SpeedMeter


def test_speed_is_of_the_chunks_after_the_second():
  clock = iter([10.0, 40.0, 41.0, 43.0, 45.0])
  speed = SpeedMeter(now=lambda: next(clock))
  for frames in (9, 12, 12, 24):
    speed.mark(frames)
  assert speed.first_chunk_secs == 30
  assert speed.pixel_fps == pytest.approx((12 + 24) / (45 - 41))


def test_speed_of_too_few_chunks_is_undefined():
  speed = SpeedMeter()
  assert speed.first_chunk_secs is None
  speed.mark(9)
  speed.mark(12)
  assert speed.first_chunk_secs >= 0
  assert speed.pixel_fps is None
