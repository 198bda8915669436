"""The cast of a session: given before it begins, recorded, and replayed."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.film.cast import CastPicture
from cinejax.film.journal import Film, Segment
from cinejax.serving import cast
from tests.serving.sessions import latents_of, run_film, until


def _picture(name='Ada', colour='red', size=(16, 16)):
  file = io.BytesIO()
  Image.new('RGB', size, colour).save(file, 'PNG')
  data = base64.b64encode(file.getvalue()).decode()
  return CastPicture(name, f'data:image/png;base64,{data}')


def test_a_picture_is_given_before_the_film_and_stays(studio, caplog):
  registry, ada = studio.registry, _picture()
  name = studio.create(seed=3)['id']
  assert cast.add_picture(registry, name, ada)['cast'] == ['Ada']
  with pytest.raises(UserError, match='the cast has 2 pictures of 3 frames'):
    cast.add_picture(registry, name, _picture('Ben'))
  assert cast.remove_character(registry, name, 'Ada')['cast'] == []
  cast.add_picture(registry, name, ada)
  studio.direct(name, {'do': 'prompt', 'prompt': 'Ada walks'})
  until(lambda: studio.describe(name)['chunks'] >= 2)
  studio.direct(name, {'do': 'pause'})
  live_film = registry.sessions[name].live_film
  until(lambda: not live_film.chunk_in_flight)
  with pytest.raises(UserError, match='the film has begun, so its cast stays'):
    cast.remove_character(registry, name, 'Ada')
  studio.direct(name, {'do': 'rewind', 'chunk': 0})
  ((take,),) = (place['takes'] for place in studio.describe(name)['takes'])
  studio.direct(name, {'do': 'delete_take', 'take': take['take']})
  with pytest.raises(UserError, match='the film has begun, so its cast stays'):
    cast.remove_character(registry, name, 'Ada')
  for _ in range(2):
    studio.direct(name, {'do': 'undo'})
  until(lambda: not (live_film.replaying or live_film.chunk_in_flight))
  (film, latents) = studio.screenplay(name), latents_of(studio, name)
  assert film.cast == (ada,)  # it has the size of a film already
  # the screenplay makes the film again, and without the picture another one
  again = run_film(studio, film)
  np.testing.assert_array_equal(again, latents)
  plain = run_film(studio, Film(film.segments, seed=3))
  assert np.abs(np.subtract(plain, latents)).max() > 1e-4
  # so does the record, from the first chunk on
  with registry.changed:
    session = registry.sessions[name]
    registry.save_journal(session)
    registry.remove(session, {})
  registry.archive.path(name, 'safetensors').unlink(missing_ok=True)
  assert studio.restore(name)['cast'] == ['Ada']
  restored = registry.sessions[name].live_film
  until(lambda: not restored.replaying)
  assert 'differs' not in caplog.text
  studio.close(name)


def test_a_server_reads_no_files_and_only_pictures(studio):
  segments = (Segment('Ada walks', chunks=1),)
  film = Film(segments, cast=(CastPicture('Ada', '/etc/passwd'),))
  with pytest.raises(UserError, match='a server reads no files'):
    studio.create(film=film)
  text = base64.b64encode(b'no picture').decode()
  film = Film(
    segments,
    cast=(_picture()._replace(picture=f'data:image/png;base64,{text}'),),
  )
  with pytest.raises(UserError, match='is no image'):
    studio.create(film=film)
