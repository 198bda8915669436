"""Recorded films, of which every chunk is generated once."""

import hashlib
import os

import jax
import pytest

from cinejax.film.journal import Settings
from cinejax.serving.film.chunk import decode_output
from cinejax.serving.film.slots import Slots
from cinejax.serving.registry import SessionRegistry
from tests.serving.film.recorded import ACTIONS, act, contents, described


@pytest.fixture(scope='session')
def generate(director):
  """Generates the next chunk of a session.

  The same state and prompt are computed once, and are told apart by every bit.
  """
  slots, known = Slots(director, 1), {}

  def next_chunk(session):
    live_film = session.live_film
    before = live_film.snapshot()
    request = session.start_chunk(0.0)
    digest = hashlib.sha256(repr((request.prompt, request.chunk)).encode())
    for tree in before:
      for path, array in sorted(tree.items()):
        digest.update(path.encode() + array.tobytes())
    key = digest.digest()
    if key not in known:
      # Copies, because a call may use up what it is given.
      state = jax.tree.map(lambda leaf: leaf.copy(), request.slot_input.state)
      decoder = jax.tree.map(lambda leaf: leaf.copy(), request.decoder)
      slot_input = request.slot_input._replace(state=state)
      (output,) = slots.run(Settings(), [slot_input])
      request = request._replace(decoder=decoder)
      known[key] = decode_output(director, request, output)
    if request.replay:
      live_film.finish_chunk(known[key])
    else:
      session.finish_chunk(known[key], 0.0, 0.0)

  next_chunk.computed = known
  return next_chunk


@pytest.fixture
def registry(director, monkeypatch):
  """Makes the registry of a folder; every third chunk has a saved state."""
  monkeypatch.setattr(os, 'fsync', lambda file: None)
  monkeypatch.setattr('cinejax.serving.registry.model_name', lambda _: 'model')

  def make(folder):
    return SessionRegistry(director, folder, lambda: 0.0)

  return make


@pytest.fixture
def moments(registry, generate, tmp_path):
  """The files of the film before and after each action, and what it was."""
  folder = tmp_path / 'film'
  first = registry(folder)
  session = first.add(first.new_film(5, 'Title'), 'Title')
  found = [([b'', b'', b''], described(session))]
  for action in ACTIONS:
    act(first, session, action, generate)
    found.append((contents(folder, session.name), described(session)))
  return session.name, found
