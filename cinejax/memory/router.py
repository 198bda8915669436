"""Content-aware memory routing (CAMR): which past frames a chunk reads.

  q_i     = mean over the chunk's tokens of its un-rotated queries          (6)
  s_{i,f} = sum_{h,k} q_i[h, k] d_f[h, k]                                   (7)
  context = top-R of s outside the window + V window frames + own chunk     (8)

(CausalCine, section 3; d_f is eq. (5) in bank.py.) Positions depend on the
role of a frame and are aligned to the right: with v <= V window frames and
r <= R routed ones,

  own R+V .. R+V+F-1    window R+V-v .. R+V-1    routed R-r .. R-1          (9)

Positions therefore stay within the range of training; while all frames of a
film fit, they are its absolute positions, up to a shift. With policy `full`,
positions are frame indices.

The frames of given pictures (bank.py) are never in the window. They come first
in time order, and each picture counts as a shot of its own. They can be routed
from the first chunk on, when the window is still empty.

Whatever does not depend on a layer is computed once, in a `View`. The prior of
a view expresses all policies but camr. Frames are identified by their rank:
their place in time order among the frames that a segment may see. Ties go to
the earlier frame, whichever slot it is in.
"""

import chex
import jax
import jax.numpy as jnp

from cinejax.memory import policies
from cinejax.memory.bank import EMPTY, Bank


@chex.dataclass(frozen=True, mappable_dataclass=False)
class View:
  """Which of E stored frames S segments may see, in time order."""

  slot_BSE: jax.Array  # int32, slot of each rank; slots that are not seen last
  frame_BSE: jax.Array  # int32, frame index of each rank
  prior_BSE: jax.Array  # float32, added to the score; -inf: never routed
  window_BSV: jax.Array  # int32, slots of the window; the first v are valid
  valid_BS: jax.Array  # int32, v
  start_BS: jax.Array  # int32, frame index of the segment's first frame


def bank_view(
  bank: Bank,
  start_B: jax.Array,
  *,
  frames: int,
  window: int,
  routed: int,
  policy: str,
  pending: bool = False,
  noise_BE: jax.Array | None = None,
) -> View:
  """The view of a chunk that starts at frame start_B, over a bank; S = 1.

  Args:
    bank: the stored frames.
    start_B: latent frame index of the chunk's first frame.
    frames: F.
    window: V.
    routed: R.
    policy: one of config.POLICIES.
    pending: whether the chunk before counts as seen, though it is committed in
      the same pass.
    noise_BE: the scores of policy `random`.
  """
  seen_BE = bank.valid_BE
  if pending:
    before = bank.frame_BE >= jnp.maximum(start_B - frames, 0)[:, None]
    seen_BE |= before & (bank.frame_BE < start_B[:, None])
  return _view(
    bank.frame_BE[:, None],
    bank.shot_BE[:, None],
    seen_BE[:, None],
    start_B[:, None],
    window=window,
    routed=routed,
    policy=policy,
    noise_BSE=None if noise_BE is None else noise_BE[:, None],
  )


def film_view(
  shot_BN: jax.Array,
  *,
  frames: int,
  window: int,
  routed: int,
  policy: str,
  noise_BNE: jax.Array | None = None,
) -> View:
  """The views of all chunks of a film, over its own frames; S = N, E = N F.

  shot_BN is the shot of each chunk; the others are as in `bank_view`.
  """
  batch, chunks = shot_BN.shape
  length = chunks * frames
  frame_E = jnp.arange(length)
  start_S = jnp.arange(chunks) * frames
  shape = (batch, chunks, length)
  return _view(
    jnp.broadcast_to(frame_E, shape),
    jnp.broadcast_to(jnp.repeat(shot_BN, frames, 1)[:, None], shape),
    jnp.broadcast_to(frame_E[None, None] < start_S[None, :, None], shape),
    jnp.broadcast_to(start_S, shape[:2]),
    window=window,
    routed=routed,
    policy=policy,
    noise_BSE=noise_BNE,
  )


def join(*views: View) -> View:
  """Concatenates the views of several segments of one pass."""
  return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *views)


def _view(
  frame_BSE,
  shot_BSE,
  seen_BSE,
  start_BS,
  *,
  window,
  routed,
  policy,
  noise_BSE,
):
  late = jnp.iinfo(jnp.int32).max
  in_film_BS = (seen_BSE & (frame_BSE >= 0)).sum(-1)
  slot_BSE = jnp.argsort(jnp.where(seen_BSE, frame_BSE, late), -1)
  frame_BSE = jnp.take_along_axis(frame_BSE, slot_BSE, -1)
  shot_BSE = jnp.take_along_axis(shot_BSE, slot_BSE, -1)
  past_BS = seen_BSE.sum(-1)
  valid_BS = jnp.minimum(in_film_BS, window)
  outside_BS = past_BS - valid_BS
  rank_BSV = outside_BS[..., None] + jnp.arange(window)[None, None]
  window_BSV = jnp.take_along_axis(
    slot_BSE, jnp.minimum(rank_BSV, slot_BSE.shape[-1] - 1), -1
  )
  return View(
    slot_BSE=slot_BSE,
    frame_BSE=frame_BSE,
    prior_BSE=policies.prior(
      policy, frame_BSE, shot_BSE, outside_BS, routed, noise_BSE
    ),
    window_BSV=window_BSV,
    valid_BS=valid_BS,
    start_BS=start_BS,
  )


def route(
  view: View,
  q_BSHK: jax.Array | None,
  descriptor_BEHK: jax.Array | None,
  *,
  routed: int,
  by_content: bool,
  by_head: bool = False,
) -> jax.Array:
  """Routes: ranks [B, S, R] of the chosen frames, in time order.

  Where fewer than R frames may be routed, the last ranks are E.

  With `by_head`, each head routes as a layer of this head alone would, and the
  result is [B, S, H R]: the ranks of the first head, then those of the second.

  Args:
    view: what the segments may see.
    q_BSHK: eq. (6); read only if `by_content`.
    descriptor_BEHK: eq. (5) by slot; read only if `by_content`.
    routed: R.
    by_content: whether eq. (7) is added to the prior, as in policy camr. Scores
      are float32.
    by_head: whether the sum over heads in eq. (7) is left out (per-head
      selection: Focused Forcing, arXiv 2605.18346).
  """
  if by_head:

    def alone(q_BSK, descriptor_BEK):
      one = q_BSK[:, :, None], descriptor_BEK[:, :, None]
      return route(view, *one, routed=routed, by_content=by_content)

    rank_BSHR = jax.vmap(alone, 2, 2)(q_BSHK, descriptor_BEHK)
    return rank_BSHR.reshape(*rank_BSHR.shape[:2], -1)
  length = view.prior_BSE.shape[-1]
  score_BSE = view.prior_BSE
  if by_content:
    content_BSE = jnp.einsum(
      'bshk,behk->bse',
      q_BSHK,
      descriptor_BEHK,
      precision=jax.lax.Precision.HIGHEST,
    )
    score_BSE += jnp.take_along_axis(content_BSE, view.slot_BSE, -1)
  best_BSR, rank_BSR = jax.lax.top_k(score_BSE, min(routed, length))
  rank_BSR = jnp.sort(jnp.where(best_BSR > -jnp.inf, rank_BSR, length), -1)
  missing = routed - rank_BSR.shape[-1]
  return jnp.pad(
    rank_BSR, ((0, 0), (0, 0), (0, missing)), constant_values=length
  )


def latest(view: View, descriptor_BEHK: jax.Array) -> jax.Array:
  """Descriptors [B, S, H, K] of the frame before each segment; 0 if none."""
  last_BS1 = jnp.maximum(view.valid_BS - 1, 0)[..., None]
  slot_BS = jnp.take_along_axis(view.window_BSV, last_BS1, -1)[..., 0]
  found_BSHK = jax.vmap(lambda rows, slots: rows[slots])(
    descriptor_BEHK, slot_BS
  )
  return jnp.where((view.valid_BS > 0)[..., None, None], found_BSHK, 0.0)


def routed_slots(view: View, *, routed: int) -> jax.Array:
  """Bool [B, S, E]: the slots that the prior alone routes."""
  rank_BSR = route(view, None, None, routed=routed, by_content=False)
  length = view.prior_BSE.shape[-1]
  slot_BSR = jnp.where(
    rank_BSR < length, take_rank(view.slot_BSE, rank_BSR), length
  )
  return jax.nn.one_hot(slot_BSR, length, dtype=bool).any(-2)


def none_routed(view: View, routed: int) -> jax.Array:
  """Ranks [B, S, R] with which no frame is routed."""
  shape = (*view.valid_BS.shape, routed)
  return jnp.full(shape, view.prior_BSE.shape[-1], jnp.int32)


def take_rank(table_BSE: jax.Array, rank_BSR: jax.Array) -> jax.Array:
  """The table's entries at these ranks; an arbitrary one where rank is E."""
  length = table_BSE.shape[-1]
  return jnp.take_along_axis(table_BSE, jnp.minimum(rank_BSR, length - 1), -1)


def routed_frames(view: View, rank_BSR: jax.Array) -> jax.Array:
  """Frame indices [B, S, R] of these ranks; EMPTY where rank is E."""
  none_BSR = rank_BSR == view.prior_BSE.shape[-1]
  return jnp.where(none_BSR, EMPTY, take_rank(view.frame_BSE, rank_BSR))


def context_slots(view: View, rank_BSR: jax.Array) -> jax.Array:
  """Slots [B, S, V + R] of the window, then of the routed frames."""
  routed_BSR = take_rank(view.slot_BSE, rank_BSR)
  return jnp.concatenate([view.window_BSV, routed_BSR], -1)


def valid_first(view: View, context_BSM: jax.Array) -> jax.Array:
  """[B, S, V + R] of the context, with the routed right after the v in use.

  At the start of a film the window is not full, and pictures can be routed.
  """
  place_11M = jnp.arange(context_BSM.shape[-1])[None, None]
  empty_BS1 = view.window_BSV.shape[-1] - view.valid_BS[..., None]
  skip_BSM = jnp.where(place_11M < view.valid_BS[..., None], 0, empty_BS1)
  last = context_BSM.shape[-1] - 1
  return jnp.take_along_axis(
    context_BSM, jnp.minimum(place_11M + skip_BSM, last), -1
  )


def context_length(view: View, rank_BSR: jax.Array, frames: int) -> jax.Array:
  """How many frames [B, S] a segment reads.

  They are the first ones of its own frames followed by `valid_first` of
  `context_slots`.
  """
  count_BS = (rank_BSR < view.prior_BSE.shape[-1]).sum(-1)
  return frames + view.valid_BS + count_BS


def positions(
  view: View, rank_BSR: jax.Array, *, frames: int, absolute: bool
) -> jax.Array:
  """Positions [B, S, F + V + R] of own, window and routed frames, eq. (9).

  With `absolute`, as in policy `full`, they are frame indices.
  """
  window, routed = view.window_BSV.shape[-1], rank_BSR.shape[-1]
  count_BS1 = (rank_BSR < view.prior_BSE.shape[-1]).sum(-1, keepdims=True)
  own_BS1 = jnp.full_like(view.start_BS, routed + window)[..., None]
  routed_BSR = routed - count_BS1 + jnp.arange(routed)[None, None]
  if absolute:
    own_BS1 = view.start_BS[..., None]
    routed_BSR = take_rank(view.frame_BSE, rank_BSR)
  own_BSF = own_BS1 + jnp.arange(frames)[None, None]
  first_BS1 = own_BS1 - view.valid_BS[..., None]
  window_BSV = first_BS1 + jnp.arange(window)[None, None]
  return jnp.concatenate([own_BSF, window_BSV, routed_BSR], -1)
