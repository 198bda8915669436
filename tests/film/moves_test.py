"""Moves of the camera are read and dealt out to chunks."""

import pytest

from cinejax.core.errors import UserError
from cinejax.film import moves, screenplay
from cinejax.models import camera
from cinejax.models.config import CAMERA_KEYS


def test_moves_are_read():
  keys = moves.parse('-, w*3,a , w', 'here')
  assert keys == ('-', 'w', 'w', 'w', 'a', 'w')
  assert moves.KEYS == CAMERA_KEYS == tuple(camera.MOVES)


@pytest.mark.parametrize('text', ['', 'x*3', 'w*', 'w**2', 'w;a', 'w*-1'])
def test_mistakes_are_named(text):
  with pytest.raises(UserError, match=r'^here has .*moves are such as'):
    moves.parse(text, 'here')


def test_there_is_a_limit():
  with pytest.raises(UserError, match='here has more than 100000 moves'):
    moves.parse('w*99999,a,a', 'here')


def test_chunks_of_a_segment_make_its_moves_one_after_another():
  dealt = [moves.of_chunk('-,w*3,j', chunk, 2) for chunk in range(4)]
  assert dealt == [[[], ['w']], [['w'], ['w']], [['j'], []], [[], []]]
  document = {
    'segments': [
      {'prompt': 'a', 'chunks': 2, 'camera': '-,w*3'},
      {'prompt': 'b', 'chunks': 1},
    ]
  }
  film = screenplay.parse(document, 'here')
  prompts = screenplay.chunk_prompts(film, 'Cut to: ', 1.0)
  found = [(p.camera, p.number) for p in prompts]
  assert found == [('-,w*3', 0), ('-,w*3', 1), ('', 0)]
  assert screenplay.document(film)['segments'] == [
    {'cut': True, **segment} for segment in document['segments']
  ]
  document['segments'][1]['camera'] = 'up*3'
  with pytest.raises(UserError, match=r'segments\[1\]\.camera has .up\*3'):
    screenplay.parse(document, 'here')
