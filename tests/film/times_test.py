"""When frames are shown, whatever their time stamps are."""

import types
from fractions import Fraction

import pytest

from cinejax.film.footage import timed_frames

MS = Fraction(1, 1000)


def _times(stamps, rate=10, durations=None):
  """(start, stop) of frames with stamps in ms."""
  durations = durations or [None] * len(stamps)
  frames = [
    types.SimpleNamespace(pts=stamp, time_base=MS, duration=duration)
    for stamp, duration in zip(stamps, durations, strict=True)
  ]
  container = types.SimpleNamespace(decode=lambda stream: iter(frames))
  stream = types.SimpleNamespace(
    average_rate=Fraction(rate),
    codec_context=types.SimpleNamespace(name='h264'),
  )
  found = timed_frames(container, stream)
  return [(float(t.start), float(t.stop)) for t in found]


@pytest.mark.parametrize(
  ('stamps', 'starts'),
  [
    ([None, None, None], [0, 0.1, 0.2]),  # raw streams have none
    ([500, 600, 700], [0, 0.1, 0.2]),  # starts late
    ([-100, 0, 100], [0, 0.1, 0.2]),  # before an edit list begins
    ([0, None, 200], [0, 0.1, 0.2]),
    ([0, 0, 200], [0, 0, 0.2]),  # the second replaces the first at once
    ([90_000, 90_100, 0, 100], [0, 0.1, 0.2, 0.3]),  # starts again
  ],
)
def test_starts(stamps, starts):
  found = _times(stamps)
  assert [start for start, _ in found] == pytest.approx(starts, abs=1e-3)
  stops = [stop for _, stop in found]
  assert stops[:-1] == [start for start, _ in found][1:]
  assert stops[-1] == pytest.approx(starts[-1] + 0.1, abs=1e-3)


def test_the_last_frame_of_a_variable_rate_has_its_own_duration():
  found = _times([0, 100, 700], durations=[100, 600, 900])
  assert found[-1] == pytest.approx((0.7, 1.6), abs=2e-3)
