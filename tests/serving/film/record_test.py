"""A film goes on after any kill as the film that was not killed."""

import itertools
import os

import pytest

from cinejax.core.errors import UserError
from cinejax.serving.directions import ChunkDirection
from cinejax.serving.film import record as record_lib
from tests.serving.film.recorded import ACTIONS, SUFFIXES, act, described


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
    assert described(session) == found[done][1], number
    for action in ACTIONS[done:]:
      act(again, session, action, generate)
    assert described(session) == whole, number
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
      act(again, session, None, generate)
    state = described(session)
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
