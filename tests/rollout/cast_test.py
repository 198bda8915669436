"""Given pictures stay in memory, are routed by content, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.models.arrangement import separated
from cinejax.rollout.scan import make_scan
from tests.rollout.conftest import CHUNKS, SHAPE, TEXT

F = SHAPE[0]


def _admitted(one, admit, order, seed=0):
  """The state before the first chunk, with two pictures in this order."""
  state = one.begin()
  for number in order:
    key = jax.random.fold_in(jax.random.key(seed), number)
    latents_BFYXC = jax.random.normal(key, (2, *SHAPE))
    text_BWD = jax.random.normal(key, (2, *TEXT))
    state = admit(one.params, state, jnp.int32(number), text_BWD, latents_BFYXC)
  return state


def test_pictures_are_read_from_the_first_chunk_on_and_never_evicted(studio):
  # V + R + F = 11, two pictures, and nothing more
  one = studio(
    rollout__guidance=1.0, memory__bank_frames=17, memory__evict='oldest'
  )
  admit, scan_fn = jax.jit(one.step.admit), make_scan(one.step)
  chunks, made = one.chunks(), []
  for order, seed in (((0, 1), 0), ((1, 0), 0), ((0, 1), 1)):
    state = _admitted(one, admit, order, seed)
    made.append(scan_fn(one.params, state, chunks))
  (state, output), (_, swapped), (_, other) = made
  pictures = {-(n + 2) * F + f for n in range(2) for f in range(F)}
  assert {bank_lib.picture_number(frame, F) for frame in pictures} == {0, 1}
  held_BE = np.sort(state.bank.frame_BE, 1)
  assert (held_BE[:, :6] == sorted(pictures)).all()  # after 21 frames of film
  assert held_BE[0, 6:].tolist() == list(range(F * CHUNKS - 11, F * CHUNKS))
  first_JLBR = np.asarray(output.frame_JLBR[0])
  assert set(first_JLBR.ravel()) <= pictures  # R frames, and no EMPTY
  # neither slots nor company decide what a picture is
  np.testing.assert_array_equal(output.frame_JLBR, swapped.frame_JLBR)
  np.testing.assert_allclose(
    output.latents_BFYXC, swapped.latents_BFYXC, atol=1e-5
  )
  apart = jnp.abs(output.latents_BFYXC - other.latents_BFYXC)
  assert apart.max((1, 2, 3, 4, 5))[0] > 1e-3


@pytest.mark.slow
def test_a_cast_is_read_alike_in_both_forms_of_the_commit(studio):
  films = []
  for commit in ('separate', 'fused'):
    one = studio(rollout__commit=commit, memory__bank_frames=20)
    state = _admitted(one, jax.jit(one.step.admit), (0, 1))
    films.append(make_scan(one.step)(one.params, state, one.chunks())[1])
  separate, fused = films
  np.testing.assert_array_equal(separate.frame_JLBR, fused.frame_JLBR)
  np.testing.assert_allclose(
    separate.latents_BFYXC, fused.latents_BFYXC, atol=1e-5
  )


@pytest.mark.slow
def test_a_cast_is_read_alike_where_layers_share_the_window(studio):
  """Their passes write routed frames behind a window that is not full yet."""
  one = studio(memory__bank_frames=20)
  dit = dataclasses.replace(one.cfg.dit, unroll='rollout')
  step, films = one.step, []
  for params in (one.params, separated(dit, one.params)):
    alike = dataclasses.replace(one, params=params)
    state = _admitted(alike, jax.jit(step.admit), (0, 1))
    films.append(make_scan(step)(params, state, one.chunks(4))[1])
  stacked, shared = films
  np.testing.assert_array_equal(stacked.frame_JLBR, shared.frame_JLBR)
  np.testing.assert_allclose(
    stacked.latents_BFYXC, shared.latents_BFYXC, atol=1e-5
  )


@pytest.mark.slow
def test_a_policy_that_routes_nothing_makes_the_film_without_a_cast(studio):
  one = studio(memory__policy='window', memory__bank_frames=17)
  scan_fn = make_scan(one.step)
  state = _admitted(one, jax.jit(one.step.admit), (0, 1))
  _, cast = scan_fn(one.params, state, one.chunks())
  _, plain = scan_fn(one.params, one.begin(), one.chunks())
  np.testing.assert_array_equal(cast.latents_BFYXC, plain.latents_BFYXC)
