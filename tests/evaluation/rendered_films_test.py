"""Story films as latents, and pictures of their characters."""

import numpy as np
import pytest

from cinejax.directing.loading import load_director
from cinejax.evaluation import rendered_films
from cinejax.story import casting, world
from tests.evaluation.cases import make_cfg
from tests.networks import save_networks

FILMS = [casting.cast('train', 3, index) for index in range(3)]


@pytest.fixture
def codec(tmp_path):
  save_networks(make_cfg(), tmp_path)
  return load_director(make_cfg(), str(tmp_path))


def test_the_padding_of_a_film_does_not_change_its_latents(codec):
  chunks = max(film.chunks for film in FILMS) + 1
  together = rendered_films.encode(codec, FILMS, chunks)
  for film, padded_FYXC in zip(FILMS, together, strict=True):
    [alone_FYXC] = rendered_films.encode(codec, [film], film.chunks)
    assert len(padded_FYXC) == 3 * chunks > len(alone_FYXC)
    np.testing.assert_allclose(
      padded_FYXC[: len(alone_FYXC)], alone_FYXC, atol=1e-5
    )


def test_a_picture_shows_the_character_that_returns(codec):
  given = rendered_films.encode_pictures(codec, FILMS)
  assert given.names == tuple(
    world.CHARACTERS[film.events[0].character] for film in FILMS
  )
  assert given.latents_BFYXC.shape[:2] == (3, 3)
