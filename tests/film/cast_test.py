"""Pictures of characters in screenplays: paths, data URLs and refusals."""

import json

import numpy as np
import pytest
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.film import cast, screenplay

SEGMENTS = [{'prompt': 'Ada walks', 'chunks': 1}]


def _saved(path, colour=(200, 30, 30), size=(24, 16)):
  Image.new('RGB', size, colour).save(path)
  return path


def test_a_screenplay_names_pictures_beside_it(tmp_path):
  _saved(tmp_path / 'ada.png')
  document = {
    'cast': {'Ada': 'ada.png', 'Ben': ['b.png', str(tmp_path / 'c.png')]},
    'segments': SEGMENTS,
  }
  path = tmp_path / 'film.json'
  path.write_text(json.dumps(document))
  (film,) = screenplay.load(path)
  assert [one.name for one in film.cast] == ['Ada', 'Ben', 'Ben']
  files = [str(tmp_path / name) for name in ('ada.png', 'b.png', 'c.png')]
  assert [one.picture for one in film.cast] == files
  assert film.cast[0].read().size == (24, 16)
  screenplay.save(film, tmp_path / 'again.json')
  assert screenplay.load(tmp_path / 'again.json') == (film,)


def test_an_embedded_picture_fills_the_frame_and_stays_as_it_is(tmp_path):
  one = cast.CastPicture('Ada', str(_saved(tmp_path / 'ada.png')))
  inside = cast.embedded(one, 8, 8)
  image_YXC = np.asarray(inside.read())
  assert image_YXC.shape == (8, 8, 3) and (image_YXC == (200, 30, 30)).all()
  assert cast.embedded(inside, 8, 8) == inside  # lossless and already cropped
  document = {'segments': SEGMENTS, 'cast': cast.cast_document([inside])}
  assert screenplay.parse(document, 'a film').cast == (inside,)


@pytest.mark.parametrize(
  ('document', 'sentence'),
  [
    (['ada.png'], 'cast has a wrong type'),
    ({'Ada': 7}, r'cast\.Ada must be a picture or a list'),
    ({'Ada': []}, r'cast\.Ada must be a picture or a list'),
    ({'Ada': ['a.png', '']}, r"cast\.Ada has a picture ''"),
    ({' ': 'a.png'}, "cast has a name ' '"),
  ],
)
def test_a_wrong_cast_is_refused_by_its_place(document, sentence):
  with pytest.raises(UserError, match=f'a film.*{sentence}'):
    screenplay.parse({'segments': SEGMENTS, 'cast': document}, 'a film')


@pytest.mark.parametrize(
  ('picture', 'sentence'),
  [
    ('gone.png', 'cast Ada=gone.png is no image'),
    ('data:text/html;base64,AAAA', 'is no base64 data URL of an image'),
    ('data:image/png;base64,%%', 'is not base64'),
    ('data:image/png;base64,AAAA', 'is no image'),
  ],
)
def test_a_picture_that_cannot_be_read_is_named(picture, sentence):
  with pytest.raises(UserError, match=sentence):
    cast.CastPicture('Ada', picture).read()


def test_flags_name_pictures():
  assert cast.parse_flags(['Ada=a=b.png']) == (('Ada', 'a=b.png'),)
  for flag in ('Ada', 'Ada=', '=a.png'):
    with pytest.raises(UserError, match=f'--cast={flag}'):
      cast.parse_flags([flag])
