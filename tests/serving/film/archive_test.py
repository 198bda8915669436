import json

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.journal import Film, Segment, Settings
from cinejax.interop.tensors import save_tree
from cinejax.serving.directions import ChunkDirection
from cinejax.serving.film.archive import SessionArchive
from cinejax.serving.plan import Plan


def test_files_of_others_are_no_sessions_and_stay(tmp_path):
  film = Film((Segment('Ada', chunks=1),), seed=3)
  others = ('demo.json', 'config.json', 'base.json', 'base.safetensors')
  for name in others:
    screenplay.save(film, tmp_path / name)
  archive = SessionArchive(tmp_path, 'model')
  sessions = ['0123456789abcdef', 'fedcba9876543210']
  for name in sessions:
    archive.save_journal(name, film)
  assert set(archive.names()) == set(sessions)
  assert archive.titles() == dict.fromkeys(archive.names(), 'Ada')
  assert archive.load(sessions[0]).film == film
  left = {path.name for path in tmp_path.iterdir()}
  assert left == {*others, *(f'{name}.json' for name in sessions)}
  archive.delete(sessions[0])
  assert archive.names() == sessions[1:]
  with pytest.raises(UserError, match='no such saved session'):
    archive.load('demo')


@pytest.mark.parametrize('text', ['{', '7', '{"a": 1}', '["gone"]'])
def test_what_was_live_is_nobody_where_the_list_is_not_ours(tmp_path, text):
  archive = SessionArchive(tmp_path, 'model')
  archive.save_journal(
    '0123456789abcdef', Film((Segment('Ada', chunks=1),), seed=3)
  )
  (tmp_path / 'open.json').write_text(text)
  assert archive.open() == []
  archive.set_open(['0123456789abcdef'])
  assert archive.open() == ['0123456789abcdef']


def test_sessions_of_earlier_versions_are_read(tmp_path):
  """These are the names on disk, whatever the code calls them."""
  name = '0123456789abcdef'
  segment = {'prompt': 'Ada', 'chunks': 1, 'cut': True}
  film = {'title': '', 'seed': 3, 'segments': [segment]}
  (tmp_path / f'{name}.json').write_text(json.dumps(film))
  direction = {
    'prompt': 'Ben',
    'cut': True,
    'blend_chunks': 0,
    'settings': ['window', None, 2.0],
    'at_secs': None,
    'at_chunk': 4,
  }
  plan = {'until': 6, 'plan': [[4, direction]]}
  (tmp_path / f'{name}.plan').write_text(json.dumps(plan))
  thumbnails = [b'one', b'', b'three']
  tree = {
    'state': {'a': np.ones(2)},
    'decoder': {'b': np.zeros(3)},
    'latents': np.ones((1, 3, 2, 2, 1), np.float32),
    'thumbs': np.frombuffer(b''.join(thumbnails), np.uint8),
    'thumb_bytes': np.array([3, 0, 5]),
  }
  save_tree(
    tmp_path / f'{name}.safetensors',
    tree,
    {'model': 'model', 'film': json.dumps(film)},
  )
  saved = SessionArchive(tmp_path, 'model').load(name)
  assert saved.finished == saved.film == screenplay.parse(film, 'here')
  assert saved.thumbnails == thumbnails and len(saved.latents) == 1
  np.testing.assert_array_equal(saved.snapshot.state['a'], tree['state']['a'])
  assert saved.snapshot.decoder.keys() == {'b'}
  loaded = Plan()
  loaded.load(saved.plan)
  ((chunk, planned, received),) = loaded.directions
  assert (chunk, loaded.end_chunk, received) == (4, 6, None)
  assert planned == ChunkDirection(
    'Ben', cut=True, settings=Settings('window', None, 2.0), at_chunk=4
  )
  again = Plan()
  again.load(json.loads(json.dumps(loaded.to_json())))
  assert again.to_json() == loaded.to_json()
