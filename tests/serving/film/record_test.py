"""A film goes on after any kill as the film that was not killed."""

import hashlib
import itertools
import os

import jax
import pytest

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment, Settings
from cinejax.serving import edits
from cinejax.serving.directions import ChunkDirection
from cinejax.serving.film import record as record_lib
from cinejax.serving.film.chunk import decode_output
from cinejax.serving.film.slots import Slots
from cinejax.serving.registry import SessionRegistry

SUFFIXES = ('journal', 'chunks', 'safetensors')
SCREENPLAY = Film((Segment('a', chunks=2), Segment('b', chunks=9)), seed=5)


def _say(prompt, at=None, cut=False):
  direction = ChunkDirection(prompt, cut=cut, at_chunk=at)
  return lambda session: session.add_direction(direction, 0.0)


def _run(session):
  with session.plan.at_once():
    session.run_screenplay(SCREENPLAY, 0.0)


def _take(session):
  return session.to_json()['takes'][-1]['takes'][0]['take']


# What a director does; None is a chunk.
ACTIONS = (
  _run,
  None,
  _say('never', at=8),
  lambda session: session.hold(),
  _say('b', at=2, cut=True),
  None,
  None,
  lambda session: edits.rewind(session, 1),
  _say('c'),
  _say('d', at=3, cut=True),
  None,
  None,
  None,
  None,
  lambda session: edits.choose_take(session, _take(session)),
  None,
  lambda session: edits.undo(session),
  None,
  lambda session: edits.redo(session),
  lambda session: edits.delete_take(session, _take(session)),
  _say('e', at=6),
  _say('f', at=9, cut=True),
  lambda session: edits.move_planned(session, 9, 0),
  lambda session: edits.edit_planned(session, 6, chunks=2),
  None,
  None,
  lambda session: edits.delete_planned(session, 8),
  lambda session: edits.undo(session),
  lambda session: edits.undo(session),
  lambda session: edits.undo(session),
  None,
  lambda session: edits.rewind(session, 0),
  _say('g'),
  None,
)


@pytest.fixture(scope='module')
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


def _act(registry, session, action, generate):
  if action is not None:
    action(session)
    return
  while session.live_film.replaying:
    generate(session)
  generate(session)
  if session.live_film.chunks == 3:
    registry.archive.save_state(session.name, session.live_film)
    registry.archive.flush()


def _contents(folder, name):
  paths = [folder / f'{name}.{suffix}' for suffix in SUFFIXES]
  return [path.read_bytes() if path.exists() else b'' for path in paths]


def _described(session):
  """All that a director can see of a film, and what is planned for it."""
  keys = ('chunks', 'segments', 'planned', 'seed', 'title')
  keys += ('stored', 'takes', 'undo', 'redo')
  state = {key: session.to_json()[key] for key in keys}
  latents = session.live_film.spool.latents().tobytes()
  return state | {'until': session.plan.end_chunk, 'latents': latents}


@pytest.fixture
def moments(registry, generate, tmp_path):
  """The files of the film before and after each action, and what it was."""
  folder = tmp_path / 'film'
  first = registry(folder)
  session = first.add(first.new_film(5, 'Title'), 'Title')
  found = [([b'', b'', b''], _described(session))]
  for action in ACTIONS:
    _act(first, session, action, generate)
    found.append((_contents(folder, session.name), _described(session)))
  return session.name, found


def _kills(found):
  """(files at a kill, actions that are done) for every class of a kill."""
  for done, (before, after) in enumerate(itertools.pairwise(found)):
    (journal, chunks, state), (later, more, _) = before[0], after[0]
    grown, written = len(later) - len(journal), len(more) - len(chunks)
    sizes = {0, 1, 2, grown // 3, grown // 2, grown - 2, grown - 1, grown}
    for size in sorted(size for size in sizes if 0 <= size <= grown):
      cut = later[: len(journal) + size]
      if not cut.count(b'\n'):
        continue  # there is no film yet
      yield [cut, more, state], done + (size == grown)
    # The data of the chunk was being written, or did not reach the disk.
    if written and journal:
      yield [journal, more[: len(chunks) + written // 2], state], done
      yield [journal, chunks, b'torn'], done


def test_a_killed_film_goes_on_as_if_it_had_not_been(
  registry, generate, moments, tmp_path, monkeypatch
):
  name, found = moments
  whole, computed = found[-1][1], len(generate.computed)
  kills = list(_kills(found))
  assert len(kills) >= 100
  for number, (files, done) in enumerate(kills):
    folder = tmp_path / f'{number}'
    folder.mkdir()
    for suffix, data in zip(SUFFIXES, files, strict=True):
      (folder / f'{name}.{suffix}').write_bytes(data)
    again = registry(folder)
    session = again.restore(name)
    assert session.status == 'paused'
    assert _described(session) == found[done][1], number
    for action in ACTIONS[done:]:
      _act(again, session, action, generate)
    assert _described(session) == whole, number
    session.live_film.record.close()
  # Every state after a kill was that of the film that was not killed.
  assert len(generate.computed) == computed


def test_lost_data_of_chunks_is_generated_again(
  registry, generate, moments, tmp_path
):
  """As after a loss of power, which the data of a chunk is not safe from."""
  name, found = moments
  (journal, chunks, _), whole = found[-1]
  for lost in (len(chunks) // 2, len(chunks) - 1):
    folder = tmp_path / f'lost {lost}'
    folder.mkdir()
    (folder / f'{name}.journal').write_bytes(journal)
    (folder / f'{name}.chunks').write_bytes(chunks[:lost])
    again = registry(folder)
    session = again.restore(name)
    assert session.live_film.chunks < whole['chunks']
    while session.live_film.chunks < whole['chunks']:
      _act(again, session, None, generate)
    state = _described(session)
    assert state['latents'] == whole['latents']
    assert state['segments'] == whole['segments']


def test_a_record_of_a_later_version_is_refused(registry, moments, tmp_path):
  name, found = moments
  journal = found[-1][0][0]
  path = tmp_path / f'{name}.journal'
  for data, sentence in (
    (journal.replace(b'{"film": 1', b'{"film": 2', 1), 'is no journal that'),
    (journal + b'{"dream": 1}\n', 'cannot be followed'),
    (journal + b'{"chunk": 99}\n', 'not the next chunk'),
  ):
    path.write_bytes(data)
    with pytest.raises(UserError, match=sentence):
      record_lib.read(path)


def test_chunks_are_recorded_before_they_are_shown(
  registry, generate, tmp_path, monkeypatch
):
  """And a film whose disk is full is as it was."""
  first = registry(tmp_path)
  session = first.add(first.new_film(5), '')
  session.add_direction(ChunkDirection('a'), 0.0)
  generate(session)

  def fail(*_):
    raise OSError(28, 'No space left')

  before = (tmp_path / f'{session.name}.journal').read_bytes()
  assert before.count(b'"chunk"') == 1
  monkeypatch.setattr(os, 'fsync', fail)
  with pytest.raises(UserError, match='cannot be written'):
    generate(session)
  assert (tmp_path / f'{session.name}.journal').read_bytes() == before
  assert session.live_film.chunks == 1
