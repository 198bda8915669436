"""Supervises the router of a base with the returns of story films.

A base can lower its loss without knowing who returns: in a film of two
characters the next one is always the other, and among few it is a fair guess.
Which of them a prompt names is learned last, since the name has to reach the
queries of a chunk and the keys of the frames that show the character before
either is of use. Story films are cast, so that the frames that show the named
character are known, and the scores of the router can say so:

  L_route = -log sum_{f in C_i} exp(s_if) + log sum_{f < i} exp(s_if)     (1)
  L       = L_velocity + weight mean_layers L_route                       (2)

s_if is the score of past frame f for chunk i (models/route_scores.py), and C_i
are the past frames that show the character of chunk i. The loss is averaged
over the valid chunks of whose past frames some show that character and others
do not; films that are trained without their prompts do not count.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.objectives.alignment import PassFn, added
from cinejax.objectives.config import AlignmentConfig
from cinejax.objectives.guidance import Films

Batch = dict[str, jax.Array]


def make_returns_loss(
  pass_fn: PassFn, cfg: AlignmentConfig, name: int
) -> Callable[[Any, Batch, jax.Array, dict[str, Any]], tuple[jax.Array, Batch]]:
  """Makes loss_fn(params, batch, key, given) -> (loss, metrics), eq. (2).

  `given` has `step`, the number of updates done. The batch is that of the base
  with `labels`, int32 [B, N F, kinds]. The metric `routed` is the share of
  chunks whose best past frame shows their character.

  Args:
    pass_fn: the loss of the base, with the scores of cfg.layers.
    cfg: weight and layers.
    name: the index of the character among the kinds of labels.
  """

  def loss_fn(params, batch, key, given):
    velocity, (score_LBSE, films) = pass_fn(params, batch, key)
    prompted_B = (films.text_BNWD == batch['text']).all((1, 2, 3))
    films = films.replace(mask_BN=films.mask_BN * prompted_B[:, None])
    losses, shares = zip(
      *(
        route_loss(score_BSE, batch['labels'][..., name], films)
        for score_BSE in score_LBSE
      ),
      strict=True,
    )
    loss, metrics = added(cfg, velocity, losses, given['step'])
    return loss, metrics | {'routed': sum(shares) / len(shares)}

  return loss_fn


def route_loss(
  score_BSE: jax.Array, name_BE: jax.Array, films: Films
) -> tuple[jax.Array, jax.Array]:
  """L_route of one layer, eq. (1), and the share of chunks routed rightly.

  Args:
    score_BSE: float32, of all E frames of the film for S noisy segments, which
      are whole copies of its N chunks.
    name_BE: int32, the character that each frame shows.
    films: the batch.
  """
  batch, chunks, frames = films.shape_BNF
  copies = score_BSE.shape[1] // chunks
  own_BN = name_BE.reshape(batch, chunks, frames)[..., 0]
  chunk_E = jnp.arange(chunks * frames) // frames
  past_1NE = (chunk_E[None] < jnp.arange(chunks)[:, None])[None]
  same_BNE = past_1NE & (name_BE[:, None] == own_BN[..., None])
  other_BNE = past_1NE & ~same_BNE
  counts_BN = films.mask_BN * same_BNE.any(-1) * other_BNE.any(-1)
  past, same, other, counts = (
    jnp.tile(x, (1, copies) + (1,) * (x.ndim - 2))
    for x in (past_1NE, same_BNE, other_BNE, counts_BN)
  )

  def log_sum(among):  # of few frames or none
    return jax.nn.logsumexp(jnp.where(among, score_BSE, -1e9), -1)

  def mean(x_BS):
    return (x_BS * counts).sum() / jnp.maximum(counts.sum(), 1)

  def best(among):
    return jnp.where(among, score_BSE, -jnp.inf).max(-1)

  return mean(log_sum(past) - log_sum(same)), mean(best(same) > best(other))
