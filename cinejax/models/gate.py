"""A learned gate over the frames that a layer has routed (dit.gate).

Each head learns how much of a routed frame it takes. The values of the frame
are multiplied by

  g_f = 2 sigmoid(b + a s_f / sqrt(K)),                                     (1)

in which s_f is the head's part of the router's score of the frame, eq. (7) of
memory/router.py. A layer has the parameters b and a of each head. Both are 0 at
first, so that g_f is 1, and a network that was trained without a gate computes
the same with a new one. Frames of the own chunk and of the window have no gate.

Other memories close such a gate by a rule: DySink (arXiv 2605.21028), where
heads agree too much about what was retrieved; TetherCache (arXiv 2606.13035),
for what is irrelevant or redundant. This one is learned with the network.
"""

import math

import jax
import jax.numpy as jnp


def route_gate(
  gate_2H: jax.Array,
  q_BSTHK: jax.Array,
  descriptor_BEHK: jax.Array,
  slot_BSHR: jax.Array,
) -> jax.Array:
  """Equation (1), float32 [B, S, H, R].

  Args:
    gate_2H: b and a of eq. (1).
    q_BSTHK: queries, not rotated.
    descriptor_BEHK: the descriptors of the frames by slot.
    slot_BSHR: the slots of the routed frames; H is 1 if heads share them.
  """
  score_BSHE = jnp.einsum(
    'bshk,behk->bshe',
    jnp.mean(q_BSTHK, 2, dtype=jnp.float32),
    descriptor_BEHK,
    precision=jax.lax.Precision.HIGHEST,
  )
  shape = (*score_BSHE.shape[:3], slot_BSHR.shape[-1])
  score_BSHR = jnp.take_along_axis(
    score_BSHE, jnp.broadcast_to(slot_BSHR, shape), -1
  )
  bias_H, slope_H = gate_2H
  scaled_BSHR = score_BSHR / math.sqrt(q_BSTHK.shape[-1])
  logit_BSHR = bias_H[None, None, :, None] + (
    slope_H[None, None, :, None] * scaled_BSHR
  )
  return 2 * jax.nn.sigmoid(logit_BSHR)


def gated(value_BSNHK: jax.Array, gate_BSHM: jax.Array) -> jax.Array:
  """The values of the N = M P tokens of M frames, times the frames' gates."""
  tokens = value_BSNHK.shape[2] // gate_BSHM.shape[-1]
  gate_BSNH = jnp.repeat(gate_BSHM, tokens, -1).swapaxes(-1, -2)
  return (value_BSNHK * gate_BSNH[..., None]).astype(value_BSNHK.dtype)
