import pytest

from cinejax.benchmarks import serving


def test_two_viewers_at_once(director):
  got = serving.serve(director, viewers=2, secs=0.4)  # of 40 chunks at most
  assert len(got) == 2
  for one in got:
    assert one.frames >= 9 and one.screen_fps > 0
    assert all(a.total > 0 and a.generation >= 0 for a in one.latencies)
    assert one.latencies and all(a.in_flight >= 0 for a in one.latencies)
    # at most one chunk is ahead of the one on screen
    assert one.lead_secs <= director.timeline.chunk_secs + 0.01


@pytest.mark.slow
def test_a_film_that_can_be_made_in_time_is_on_screen_at_its_rate(slow_paced):
  (one,) = serving.serve(slow_paced, viewers=1, secs=20.0)
  assert one.screen_fps == pytest.approx(slow_paced.cfg.film.fps, rel=0.03)
  assert one.dropped == 0
