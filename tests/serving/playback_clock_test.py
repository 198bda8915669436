import math

import pytest

from cinejax.serving.playback_clock import PlaybackClock

CHUNK = 1.5


def _play(lead, made_secs, chunks, reserve):
  """Begins each chunk as soon as it should be; -> (begun, made, start)."""
  clock, now, log = PlaybackClock(lead), 0.0, []
  for _ in range(chunks):
    now = begun = max(now, clock.start_at(False, reserve))
    now += made_secs
    log.append((begun, now, clock.add_chunk(now, CHUNK)))
  return log


@pytest.mark.parametrize('lead', [1, 2])
@pytest.mark.parametrize('reserve', [0.0, 0.6, 100.0])
def test_never_further_ahead_than_the_lead(lead, reserve):
  log = _play(lead, 0.3, 12, reserve)
  for n, (begun, _, _) in enumerate(log):
    unseen = sum(start > begun for _, _, start in log[:n])
    assert unseen < lead


def test_fast_generation_keeps_the_film_at_its_rate():
  starts = [start for _, _, start in _play(1, 0.3, 12, 0.45)]
  assert starts == pytest.approx([0.3 + CHUNK * n for n in range(12)])


def test_it_begins_no_sooner_than_it_must():
  for begun, made, start in _play(1, 0.3, 12, 0.45)[1:]:
    assert start - begun == pytest.approx(0.45)
    assert made <= start


def test_slow_generation_is_never_idle_and_the_film_waits():
  log = _play(1, 2.0, 6, 3.0)
  assert [begun for begun, _, _ in log] == [2.0 * n for n in range(6)]
  assert all(start == made for _, made, start in log)


def test_a_direction_does_not_wait_for_the_reserve():
  clock = PlaybackClock(1)
  assert clock.start_at(True, 0) == -math.inf
  start = clock.add_chunk(10.0, CHUNK)
  assert clock.start_at(False, 0.5) == start + 1.0
  assert clock.start_at(True, 0.5) == start
  clock.add_chunk(10.2, CHUNK)  # on screen at 11.5: one ahead, so it must wait
  assert clock.start_at(True, 0.5) == 11.5
  clock.reset()
  assert clock.start_at(False, 0) == -math.inf
