"""Scores of the router in training: those by which it chooses frames."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.config import resolve
from cinejax.models import denoiser
from cinejax.models.route_scores import make_route_scores_film_fn
from configs import tiny
from tests.networks import random_dit

CHUNKS, FRAMES, ROUTED = 4, 3, 2


def test_the_best_scores_are_those_of_the_frames_that_are_routed():
  cfg = resolve(tiny.get_config())
  memory = dataclasses.replace(
    cfg.memory, training='routed', window_frames=3, routed_frames=ROUTED
  )
  params = random_dit(cfg.dit)
  clean, noisy = jax.random.normal(
    jax.random.key(0), (2, 1, CHUNKS, FRAMES, 4, 4, 16)
  )
  arguments = (
    clean,
    noisy,
    jnp.full((1, CHUNKS, FRAMES), 0.5),
    jnp.ones((1, CHUNKS, 8, 16)),
    jnp.zeros((1, CHUNKS), jnp.int32),
    jax.random.key(1),
  )
  layers = (0, cfg.dit.layers - 1)
  scores_fn = make_route_scores_film_fn(cfg.dit, memory, layers)
  velocity, score_LBSE = jax.jit(scores_fn)(params, *arguments)
  expected, rank_LBSR = jax.jit(denoiser.make_film_fn(cfg.dit, memory))(
    params, *arguments
  )
  np.testing.assert_allclose(velocity, expected, rtol=1e-5, atol=1e-6)
  # frames outside the window of the last chunk
  far = (CHUNKS - 1) * FRAMES - memory.window_frames
  for layer, score_BSE in zip(layers, score_LBSE, strict=True):
    best = np.argsort(-score_BSE[0, -1, :far])[:ROUTED]
    routed = rank_LBSR[layer, 0, -1]
    assert set(best.tolist()) == set(np.asarray(routed).tolist())
