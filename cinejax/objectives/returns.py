"""Supervises what a base reads when a character of a story film returns.

A base can lower its loss without knowing who returns: in a film of two
characters the next one is always the other, and among few it is a fair guess.
Which of them a prompt names is learned last, since the name has to reach the
queries of a chunk and the keys of the frames that show the character before
either is of use. Story films are cast, so that the named character is known,
and the frames that show this character:

  L_name   = -log softmax(W h)[name]                                      (1)
  L_route  = -log sum_{f in C_i} softmax_f(s_i)                           (2)
  L_attend = -log mean_h sum_{f in C_i} softmax_f(a_ih)                   (3)
  L = L_velocity + weight mean_layers (L_name + L_route + L_attend)       (4)

(1) is that of alignment.py, for the frames of the clean film as well as for the
noisy ones: with it, keys and queries know a name before they match. s_if is the
score by which the router ranks past frame f for chunk i, a_ihf the average
logit of head h between the tokens of both (models/route_scores.py), softmax
runs over the past frames, and C_i are those that show the character of chunk i.
The router adds the products of all heads, so that it can rank frames by
differences which attention, with the logits of one head, can hardly see; hence
(3). It asks for one head that reads the right frames, and more of it for each
further one. (2) and (3) are averaged over the valid chunks that are returns:
the chunk before shows another character, or is a picture, which is not drawn,
and an earlier one shows this character. Elsewhere the newest frames are the
right ones, so that a base would learn to read those rather than names. Films
that are trained without their prompts do not count.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.objectives.alignment import PassFn, added, label_loss
from cinejax.objectives.config import AlignmentConfig
from cinejax.objectives.guidance import Films

Batch = dict[str, jax.Array]


def make_returns_loss(
  pass_fn: PassFn, cfg: AlignmentConfig, name: int
) -> Callable[[Any, Batch, jax.Array, dict[str, Any]], tuple[jax.Array, Batch]]:
  """Makes loss_fn(params, batch, key, given) -> (loss, metrics), eq. (4).

  `params` has the networks `dit` and `heads`, those of the label `name`;
  `given` has `step`, the number of updates done. The batch is that of the base
  with `labels`, int32 [B, N F, kinds]. The metric `names` is L_name, `routed`
  the share of returns whose best past frame shows their character, `read` the
  share of attention to past frames that such frames get.

  Args:
    pass_fn: the loss of the base, with RouteScores of cfg.layers.
    cfg: weight and layers.
    name: the index of the character among the kinds of labels.
  """

  def loss_fn(params, batch, key, given):
    velocity, (scores, films) = pass_fn(params['dit'], batch, key)
    name_BE = batch['labels'][..., name]
    prompted_B = (films.text_BNWD == batch['text']).all((1, 2, 3))
    films = films.replace(mask_BN=films.mask_BN * prompted_B[:, None])
    losses, shares = [], []
    for index, layer in enumerate(cfg.layers):
      loss, share = returns_loss(
        scores.router_BSE[index], scores.attention_BSHE[index], name_BE, films
      )
      head = params['heads'][f'layer_{layer}']['name']
      names = label_loss(head, scores.value_BSFD[index], name_BE, films)
      losses.append(loss + names)
      shares.append(share | {'names': names})
    loss, metrics = added(cfg, velocity, losses, given['step'])
    share = jax.tree.map(lambda *x: sum(x) / len(x), *shares)
    return loss, metrics | share

  return loss_fn


def returns_loss(
  router_BSE: jax.Array,
  attention_BSHE: jax.Array,
  name_BE: jax.Array,
  films: Films,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """L_route + L_attend of one layer, and the metrics `routed` and `read`.

  Args:
    router_BSE: float32, of all E frames of the film for S noisy segments, which
      are whole copies of its N chunks.
    attention_BSHE: float32, likewise for each head.
    name_BE: int32, the character that each frame shows.
    films: the batch.
  """
  batch, chunks, frames = films.shape_BNF
  copies = router_BSE.shape[1] // chunks
  own_BN = name_BE.reshape(batch, chunks, frames)[..., 0]
  chunk_E = jnp.arange(chunks * frames) // frames
  past_1NE = (chunk_E[None] < jnp.arange(chunks)[:, None])[None]
  same_BNE = past_1NE & (name_BE[:, None] == own_BN[..., None])
  other_BNE = past_1NE & ~same_BNE
  drawn_BN = jnp.roll(films.mask_BN, 1, 1) > 0
  stays_BN = (own_BN == jnp.roll(own_BN, 1, 1)) & drawn_BN
  counts_BN = films.mask_BN * same_BNE.any(-1) * ~stays_BN
  past, same, other, counts = (
    jnp.tile(x, (1, copies) + (1,) * (x.ndim - 2))
    for x in (past_1NE, same_BNE, other_BNE, counts_BN)
  )

  def log_share(scores, past, same):
    """log sum_{f in C_i} softmax_f(scores), of few past frames or none."""
    among, right = (jnp.where(x, scores, -1e9) for x in (past, same))
    return jax.nn.logsumexp(right, -1) - jax.nn.logsumexp(among, -1)

  def mean(x_BS):
    return (x_BS * counts).sum() / jnp.maximum(counts.sum(), 1)

  def best(among):
    return jnp.where(among, router_BSE, -jnp.inf).max(-1)

  route_BS = log_share(router_BSE, past, same)
  attend_BSH = log_share(attention_BSHE, past[:, :, None], same[:, :, None])
  attend_BS = jax.nn.logsumexp(attend_BSH, -1) - jnp.log(attend_BSH.shape[-1])
  return -mean(route_BS + attend_BS), {
    'routed': mean(best(same) > best(other)),
    'read': mean(jnp.exp(attend_BS)),
  }
