"""Films whose files are damaged, or of another model, are repaired."""

import pytest

from cinejax.serving import edits
from cinejax.serving.film import record as record_lib
from tests.serving.film.recorded import (
  ACTIONS,
  SUFFIXES,
  choose_take,
  described,
)

MODEL_NAME = 'cinejax.serving.registry.model_name'


@pytest.fixture
def restore(registry, moments, tmp_path):
  """Restores a film from its files: the bytes of SUFFIXES."""
  name, _ = moments
  folders = iter(range(1000))

  def do(*files):
    folder = tmp_path / f'{next(folders)}'
    folder.mkdir()
    for suffix, data in zip(SUFFIXES, files, strict=True):
      (folder / f'{name}.{suffix}').write_bytes(data)
    return registry(folder).restore(name), folder / f'{name}.journal'

  return do


def _ends(before, after):
  """Where the writing of a journal may end: in and between its lines."""
  assert after.startswith(before)
  grown = after[len(before) :]
  lines = [n + 1 for n, byte in enumerate(grown) if byte == ord('\n')]
  ends = {
    0,
    len(grown),
    *lines,
    *(n + 1 for n in lines),
    *(n - 1 for n in lines),
  }
  return [after[: len(before) + n] for n in sorted(ends) if n <= len(grown)]


def _damage(data, extent):
  return data[: extent.start] + b'damaged' + data[extent.start + 7 :]


@pytest.mark.parametrize('loss', ['data', 'model'])
def test_a_kill_while_a_film_is_repaired_loses_nothing(
  restore, moments, monkeypatch, loss
):
  (journal, chunks, state), before = next(
    (files, film)
    for files, film in reversed(moments[1])
    if film['planned'] and film['takes'] and film['chunks'] > 2
  )
  if loss == 'model':
    monkeypatch.setattr(MODEL_NAME, lambda _: 'another')
  else:
    _, path = restore(journal, chunks, state)
    recorded = record_lib.read(path)
    chunks = _damage(chunks, recorded.extents[recorded.tree.path[1]])
    state = b''
  session, path = restore(journal, chunks, state)
  repaired = described(session)
  assert repaired['chunks'] < before['chunks']
  planned = [one['prompt'] for one in repaired['planned']]
  assert set(planned) > {one['prompt'] for one in before['planned']}
  assert bool(repaired['takes']) == bool(repaired['undo']) == (loss == 'data')
  ends = _ends(journal, path.read_bytes())
  for cut in ends:
    session, _ = restore(cut, chunks, state)
    assert described(session) == repaired, cut[len(journal) :]
  assert len(ends) >= 3


def test_a_kill_while_a_damaged_take_is_chosen_loses_nothing(restore, moments):
  (journal, chunks, state), before = moments[1][ACTIONS.index(choose_take)]
  session, path = restore(journal, chunks, state)
  recorded = record_lib.read(path)
  (take,) = recorded.tree.alternatives()[-1].takes
  assert len(take.path) > 1
  chunks = _damage(chunks, recorded.extents[take.path[1]])
  session, path = restore(journal, chunks, state)
  restored = path.read_bytes()
  edits.choose_take(session, take.number)
  chosen = described(session)
  assert chosen['planned'] and chosen['until']
  for cut in _ends(restored, path.read_bytes()):
    session, _ = restore(cut, chunks, state)
    done = cut.count(b'\n') > restored.count(b'\n')
    assert described(session) == (chosen if done else before)
