"""A film does not depend on its company, nor a shot on how its past came."""

import dataclasses

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.directing import batches
from cinejax.directing.director import Director
from cinejax.film.screenplay import Film, Segment, chunk_prompts
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from configs import tiny

LENGTHS = {'a': 7, 'b': 5}
SEEDS = {'a': 3, 'b': 4}


@pytest.fixture(scope='module', params=['none', 'host'])
def director(request):
  config = tiny.get_config()
  config.memory.archive = request.param
  if request.param == 'host':  # both it and the bank are soon full
    config.memory.bank_frames, config.memory.archive_frames = 11, 2
  config.film.height = config.film.width = 16
  cfg = resolve(config)
  codec = make_codec(cfg.codec)
  params = denoiser.init_params(cfg.dit, jax.random.key(0))
  keys = iter(jax.random.split(jax.random.key(2), 99))
  return Director(
    cfg,
    codec,
    jax.jit(codec.init)(jax.random.key(1)),
    # fresh parameters read no prompts: gates and outputs begin at zero
    jax.tree.map(
      lambda x: x + 0.1 * jax.random.normal(next(keys), x.shape), params
    ),
  )


@pytest.fixture(scope='module')
def commit_fn(director):
  return batches.make_commit(director)


def prompts(name):
  words = ['boat', 'dog', 'tree', 'boat', 'car', 'dog', 'sea']
  segments = tuple(Segment(word, chunks=1) for word in words[: LENGTHS[name]])
  return chunk_prompts(Film(segments), 'Cut to: ', 1.0)


@pytest.fixture(scope='module')
def made(director):
  """Returns pixels, latents and the routed frames of both films."""
  films = [prompts('a'), batches.hold_last_prompt(prompts('b'), 7)]
  chunks = [director.chunk_input(pair) for pair in zip(*films, strict=True)]
  state = director.begin(SEEDS.values())
  outputs = [output for _, output in director.stream(state, chunks)]
  z_BFYXC = np.concatenate([o.latents_BFYXC for o in outputs], 1)
  routed = [np.asarray(o.frame_JLBR) for o in outputs]
  pixels = batches.roll(director, [prompts('a'), prompts('b')], SEEDS.values())
  return np.concatenate(list(pixels), 1), z_BFYXC, routed


def past(made, name, start, chunks):
  z_FYXC = made[1][list(LENGTHS).index(name)]
  return batches.GivenPast(prompts(name), z_FYXC, start, chunks, SEEDS[name])


def test_films_do_not_depend_on_their_company(director, made):
  video_BTYXC, _, _ = made
  films = [prompts('b'), prompts('a')[:2]]
  other = np.concatenate(list(batches.roll(director, films, [4, 9])), 1)
  assert other.shape == (2, 57, 16, 16, 3)
  np.testing.assert_allclose(
    other[0].astype(int), video_BTYXC[1, :57].astype(int), atol=1
  )
  assert np.abs(other[0].astype(int) - video_BTYXC[0, :57]).max() > 50


def test_a_shot_after_its_own_past_is_the_shot_of_the_whole_film(
  director, made, commit_fn
):
  video_BTYXC, _, routed = made
  pasts = [past(made, 'a', 5, 2), past(made, 'b', 4, 1)]
  shots = batches.generate_shots(director, commit_fn, pasts)
  place = director.timeline.chunk_start_pixel
  for index, (one, shot) in enumerate(zip(pasts, shots, strict=True)):
    whole = video_BTYXC[index, place(one.start) : place(one.start + one.chunks)]
    assert shot.video_TYXC.shape == whole.shape
    difference = shot.video_TYXC.astype(int) - whole
    assert np.abs(difference).max() <= 1
    wanted = routed[one.start][:, :, index]
    np.testing.assert_array_equal(shot.frame_JLR, wanted)
    assert (shot.frame_JLR >= 0).any()


def test_a_shot_depends_on_its_past(director, made, commit_fn):
  one = past(made, 'a', 5, 1)
  two = dataclasses.replace(one, latents_FYXC=one.latents_FYXC[::-1])
  shots = batches.generate_shots(director, commit_fn, [one, two])
  difference = shots[0].video_TYXC.astype(int) - shots[1].video_TYXC
  assert np.abs(difference).max() > 5


def test_the_last_prompt_is_held_and_not_cut_again():
  film = prompts('b')
  held = batches.hold_last_prompt(film, 7)
  assert held[:5] == film and len(held) == 7
  assert held[6].prompt == film[-1].prompt
  assert film[-1].cut and not held[5].cut and not held[6].cut
