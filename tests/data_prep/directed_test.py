"""Films that a director makes again, each with its own noise."""

import dataclasses

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilm, LatentFilms
from cinejax.directing.director import Director
from cinejax.film.journal import ChunkPrompt
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from configs import tiny
from data_prep import directed
from tests.networks import with_random_head


@pytest.fixture(scope='module')
def director():
  config = tiny.get_config()
  config.film.height = config.film.width = 16
  config.rollout.steps, config.rollout.guidance = 1, 1.0
  config.seed = 7
  cfg = resolve(config)
  params = denoiser.init_params(cfg.dit, jax.random.key(0))
  params = with_random_head(params, 0.1)
  codec = make_codec(cfg.codec)
  return Director(cfg, codec, codec.init(jax.random.key(2)), params)


FILMS = [
  LatentFilm(
    latents=np.zeros((3 * chunks, 2, 2, 16), np.float16),
    prompts=tuple(f'Ada runs {i}' for i in range(chunks)),
    cuts=np.arange(chunks) == 1,
    shots=(np.arange(chunks) >= 1).astype(np.int32),
    film=10 + number,
  )
  for number, chunks in enumerate((3, 2, 1))
]


@pytest.mark.slow
def test_film_numbers_that_share_their_low_bits_have_different_noise(director):
  numbers = [5, 5 + 2**40, 5 + 2**47]  # as those of real clips may be
  films = [dataclasses.replace(FILMS[-1], film=number) for number in numbers]
  made = directed.direct_again(director, films, 3)
  latents = [film.latents.tobytes() for film in made]
  assert len(set(latents)) == len(numbers)


@pytest.mark.slow
def test_shards_make_every_film_as_if_alone(director, tmp_path, monkeypatch):
  monkeypatch.setattr(directed, '_BATCHES', 1)
  for shard in (1, 0):
    directed.write_parts(director, FILMS, 3, 2, tmp_path, (shard, 2))
  found = list(LatentFilms(tmp_path))
  assert [film.film for film in found] == [10, 11, 12]
  for film, source in zip(found, FILMS, strict=True):
    assert film.prompts == source.prompts
    np.testing.assert_array_equal(film.cuts, source.cuts)
    np.testing.assert_array_equal(film.shots, source.shots)
    assert film.latents.shape == source.latents.shape
  last = FILMS[-1]
  prompts = [ChunkPrompt(last.prompts[0], segment=0, shot=0, cut=False)] * 2
  state = director.begin([7 * 2**20 + last.film, 1])
  ((_, output),) = director.stream(state, [director.chunk_input(prompts)])
  alone = np.asarray(output.latents_BFYXC[0])
  np.testing.assert_allclose(found[-1].latents, alone, atol=2e-3)
  with pytest.raises(UserError, match='frames_per_chunk = 3 needs 9'):
    frames = FILMS[0].latents[:3]
    film = dataclasses.replace(FILMS[0], latents=frames)
    directed.direct_again(director, [film], 2)
  assert np.abs(found[-1].latents - found[0].latents[:3]).max() > 0.1
