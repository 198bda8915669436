"""Waits for sessions of a studio, and runs screenplays in it."""

import time


def until(what, secs=590.0):
  """What `what` returns once it is true; long, since a machine may be busy."""
  end = time.monotonic() + secs
  while not (got := what()):
    assert time.monotonic() < end, 'it did not happen'
    time.sleep(0.002)
  return got


def wait_for_chunks(studio, name, count):
  return until(lambda: studio.describe(name)['chunks'] >= count)


def latents_of(studio, name):
  return studio.registry.sessions[name].live_film.spool.latents()


def run_film(studio, film):
  """The latents of a screenplay, run to its end."""
  name = studio.create(film=film)['id']
  until(lambda: studio.describe(name)['status'] == 'paused')
  assert studio.describe(name)['reason'] == 'the screenplay has ended'
  latents = latents_of(studio, name)
  studio.close(name)
  return latents
