from cinejax.benchmarks import soaking


def test_memory_is_read_while_films_are_watched_and_scrubbed(slow_paced):
  found = soaking.soak(slow_paced, films=2, secs=3.0)
  assert len(found.samples) == 31
  assert found.samples[0].secs == 0 and 3 <= found.samples[-1].secs < 9
  for sample in found.samples:
    assert 1e7 < sample.own_bytes < sample.all_bytes
  assert found.chunks > 0 and found.seeks > 0 and found.screen_fps > 0
