import pytest

from cinejax.core.errors import UserError
from cinejax.training.profile import Profile


def test_a_window_is_traced_once(tmp_path, monkeypatch):
  events = []
  monkeypatch.setattr('jax.profiler.start_trace', lambda _: events.append('on'))
  monkeypatch.setattr('jax.profiler.stop_trace', lambda: events.append('off'))
  profile = Profile('2:3', tmp_path)
  for step in range(1, 6):
    profile.before(step)
    events.append(step)
    profile.after(step, ())
  profile.close()
  assert events == [1, 'on', 2, 3, 'off', 4, 5]


def test_a_run_may_end_within_the_window(tmp_path, monkeypatch):
  events = []
  monkeypatch.setattr('jax.profiler.start_trace', lambda _: events.append('on'))
  monkeypatch.setattr('jax.profiler.stop_trace', lambda: events.append('off'))
  profile = Profile('1:9', tmp_path)
  profile.before(1)
  profile.close()
  assert events == ['on', 'off']


@pytest.mark.parametrize('window', ['3', '3:2', '0:2', 'a:b'])
def test_a_malformed_window_is_an_error(window, tmp_path):
  with pytest.raises(UserError, match='FIRST:LAST'):
    Profile(window, tmp_path)
