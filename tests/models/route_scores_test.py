"""Scores in training: those by which frames are chosen and read."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.config import resolve
from cinejax.models import denoiser, film_mixing, mixing
from cinejax.models.route_scores import (
  RouteScoreRecorder,
  make_route_scores_film_fn,
)
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
  velocity, scores = jax.jit(scores_fn)(params, *arguments)
  expected, rank_LBSR = jax.jit(denoiser.make_film_fn(cfg.dit, memory))(
    params, *arguments
  )
  np.testing.assert_allclose(velocity, expected, rtol=1e-5, atol=1e-6)
  # frames outside the window of the last chunk
  far = (CHUNKS - 1) * FRAMES - memory.window_frames
  for layer, score_BSE in zip(layers, scores.router_BSE, strict=True):
    best = np.argsort(-score_BSE[0, -1, :far])[:ROUTED]
    routed = rank_LBSR[layer, 0, -1]
    assert set(best.tolist()) == set(np.asarray(routed).tolist())


def test_scores_are_averages_over_the_tokens_of_a_frame():
  grid = mixing.TokenGrid(
    frames=FRAMES, rows=2, columns=2, implementation='xla'
  )
  mixer = film_mixing.FullHistoryMixer(grid, chunks=2)
  tokens = FRAMES * grid.tokens
  q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 4, tokens, 2, 12))
  _, _, scores = RouteScoreRecorder(mixer)(q, k, v, None, None, None)
  # all logits of the last noisy chunk with the frames of the first clean one
  frame = jnp.arange(2 * FRAMES).reshape(1, 2, FRAMES)
  q, k = (grid.rotate(x, frame)[0] for x in (q[:, 2:], k[:, :2]))
  logits = jnp.einsum('thk,uhk->htu', q[1], k[0]) / math.sqrt(q.shape[-1])
  expected = logits.reshape(2, tokens, FRAMES, -1).mean((1, 3))
  np.testing.assert_allclose(
    scores.attention_BSHE[0, 1, :, :FRAMES], expected, rtol=1e-5, atol=1e-6
  )
  # the values of the clean chunks, then those of the noisy ones
  frames = v.reshape(1, 4, FRAMES, grid.tokens, -1)
  np.testing.assert_allclose(scores.value_BSFD, frames.mean(3), rtol=1e-5)
