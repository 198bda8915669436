import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.journal import Film, Segment
from cinejax.serving.film.archive import SessionArchive


def test_files_of_others_are_no_sessions_and_stay(tmp_path):
  film = Film((Segment('Ada', chunks=1),), seed=3)
  others = ('demo.json', 'config.json', 'base.json', 'base.safetensors')
  for name in others:
    screenplay.save(film, tmp_path / name)
  archive = SessionArchive(tmp_path, 'model', max_sessions=1)
  sessions = ['0123456789abcdef', 'fedcba9876543210']
  for name in sessions:
    archive.save_journal(name, film)
  (kept,) = archive.names()
  assert kept in sessions and archive.titles() == {kept: 'Ada'}
  assert archive.load(kept).film == film
  left = {path.name for path in tmp_path.iterdir()}
  assert left == {*others, f'{kept}.json'}
  with pytest.raises(UserError, match='no such saved session'):
    archive.load('demo')


@pytest.mark.parametrize('text', ['{', '7', '{"a": 1}', '["gone"]'])
def test_what_was_live_is_nobody_where_the_list_is_not_ours(tmp_path, text):
  archive = SessionArchive(tmp_path, 'model', max_sessions=1)
  archive.save_journal(
    '0123456789abcdef', Film((Segment('Ada', chunks=1),), seed=3)
  )
  (tmp_path / 'open.json').write_text(text)
  assert archive.open() == []
  archive.set_open(['0123456789abcdef'])
  assert archive.open() == ['0123456789abcdef']
