"""What each policy reads of the frames outside the window.

A policy is a score for each frame: -inf where it may not be routed, and the R
best of the others are read (router.py). `prior` is the part of it that depends
on time alone. Two policies add a part that depends on content: `camr`, eq. (7)
of router.py, and `rag`, the similarity of a frame to the latest one,

  s_{i,f} = cos(d_last, d_f)                                               (1)

of layer 0, for all layers (LongLive-RAG, arXiv 2606.02553). There, an
autoencoder of latent frames gives the embeddings that are compared. Here they
are the descriptors of layer 0, which come from the tokens of a frame alone: no
attention and no prompt has reached them yet. As there, the first frame of the
film is always read, and those that left the window last never are.
"""

import jax
import jax.numpy as jnp

_RECENT = 5  # frames just before the window that `rag` leaves out
_ALWAYS = 2.0  # a score above every cosine
_LEAST = 1e-12  # of a norm that is divided by


def prior(
  policy: str,
  frame_BSE: jax.Array,
  shot_BSE: jax.Array,
  outside_BS: jax.Array,
  routed: int,
  noise_BSE: jax.Array | None,
) -> jax.Array:
  """The scores [B, S, E] of a policy that do not depend on content, by rank.

  The result is float32, and -inf where a frame may not be routed.

  Args:
    policy: one of config.POLICIES.
    frame_BSE: the frame index of each rank.
    shot_BSE: the shot of each rank.
    outside_BS: how many frames, the first ones, are outside the window.
    routed: R.
    noise_BSE: the scores of policy `random`.
  """
  rank_11E = jnp.arange(frame_BSE.shape[-1])[None, None]
  outside_BSE = rank_11E < outside_BS[..., None]
  score_BSE = jnp.zeros(frame_BSE.shape, jnp.float32)
  if policy == 'window':
    may_BSE = jnp.zeros_like(outside_BSE)
  elif policy == 'sink':
    may_BSE = frame_BSE == 0
  elif policy == 'shot_sink':
    before_BSE = jnp.roll(shot_BSE, 1, -1)
    may_BSE = (rank_11E == 0) | (shot_BSE != before_BSE)
    score_BSE += rank_11E.astype(jnp.float32)  # the most recent shots
  elif policy == 'uniform':
    count_BS1 = jnp.maximum(outside_BS, 1)[..., None]
    after_BSE = (rank_11E + 1) * routed // count_BS1
    may_BSE = after_BSE > rank_11E * routed // count_BS1
  elif policy == 'rag':
    first_BSE = frame_BSE == 0
    may_BSE = (rank_11E < outside_BS[..., None] - _RECENT) | first_BSE
    score_BSE = jnp.where(first_BSE, _ALWAYS, score_BSE)
  else:  # camr, full and random: any frame
    may_BSE = jnp.ones_like(outside_BSE)
    if policy == 'random':
      score_BSE = jnp.broadcast_to(noise_BSE, score_BSE.shape)
  return jnp.where(may_BSE & outside_BSE, score_BSE, -jnp.inf)


def unit(descriptor: jax.Array) -> jax.Array:
  """Descriptors [..., H, K] of length 1, whose products are those of eq. (1).

  A descriptor of zeros stays one, and is as similar to every frame.
  """
  square = jnp.sum(descriptor * descriptor, (-2, -1), keepdims=True)
  return descriptor / jnp.maximum(jnp.sqrt(square), _LEAST)
