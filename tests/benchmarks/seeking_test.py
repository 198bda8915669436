from cinejax.benchmarks import seeking


def test_any_frame_of_a_film_is_there_at_once(with_settings):
  director = with_settings(film={'fps': 8.0})
  found = seeking.seek(director, film_secs=40.0, seeks=20)
  assert len(found.secs) == 20 and min(found.secs) > 0
  assert abs(found.film_secs - 40.0) < 1.5 * director.timeline.chunk_secs
  assert found.chunk_bytes > 100 * director.timeline.chunk_pixels
