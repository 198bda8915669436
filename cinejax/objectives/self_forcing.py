"""A student's own film as a function of its parameters (Self Forcing).

A film is rolled out as it will be served, by the same step, bank and router,
and ends each chunk at one step s for the whole film, drawn uniformly:

  x^(i) = f_theta(x_s^(i), s; bank_i),   f(x, t) = x - t v                  (1)

The gradient is that of (1) alone: what led to x_s^(i), and the bank, are
constants. So the film's cotangent c gives

  sum_i  c^(i) . d f_theta(x_s^(i), s; bank_i) / d theta                    (2)

a sum over chunks that share nothing, which `roll` computes in two phases:
the rollout, without gradient, keeps for each chunk only latents, its last
pass' input and ranks; backward, a scan replays the last passes one by one and
adds up (2); where c is 0, in updates that are not the student's turn, nothing
is replayed. The replay carries a bank of its own, committing each chunk again
beside it: one pass more a chunk, but banks are never stacked, so that memory
does not grow with the film. (Huang et al. 2025, section 3.)

Where a film's first chunk takes other steps than the rest, as in one- and
two-step frame-wise models, its exit step is drawn apart.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.rollout.state import ChunkInput, RolloutState, init_state
from cinejax.rollout.step import Step

Batch = dict[str, jax.Array]
# (params, batch, key) -> (film_BNFYXC, what of the batch it is a film of)
StudentFn = Callable[[Any, Batch, jax.Array], tuple[jax.Array, Batch]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def roll(
  step: Step,
  params: Any,
  state: RolloutState,
  chunks: ChunkInput,
  exit_N: jax.Array,
) -> jax.Array:
  """The film [N, B, F, Y, X, C] that follows `state`, eq. (1) and (2).

  Leaves of `chunks` have a leading N; exit_N are int32 steps of each chunk.
  Differentiable in `params` alone.
  """
  return _forward(step, params, state, chunks, exit_N)[0]


def _forward(step, params, state, chunks, exit_N):
  def body(state, inputs):
    state, output, last = step.roll(params, state, *inputs)
    return state, (output, last)

  _, kept = jax.lax.scan(body, state, (chunks, exit_N))
  return kept[0].latents_BFYXC, (params, state, chunks, kept)


def _backward(step, saved, cotangent_NBFYXC):
  params, state, chunks, kept = saved
  none = jax.tree.map(jnp.zeros_like, params)

  def body(carry, inputs):
    state, grads = carry
    chunk, (output, last), cotangent = inputs
    state = step.open(params, state, chunk)
    _, pull, kept = jax.vjp(
      lambda p: step.predict(p, state, chunk, last), params, has_aux=True
    )
    grads = jax.tree.map(jnp.add, grads, *pull(cotangent))
    return (step.close(params, state, chunk, output, kept), grads), None

  def replay():
    inputs = chunks, kept, cotangent_NBFYXC
    (_, grads), _ = jax.lax.scan(body, (state, none), inputs)
    return grads

  # an update that is not the student's turn has no cotangent, and no replay
  grads = jax.lax.cond(jnp.any(cotangent_NBFYXC), replay, lambda: none)
  return grads, None, None, None


roll.defvjp(_forward, _backward)


def exit_steps(step: Step, key: jax.Array, chunks: int) -> jax.Array:
  """int32 [N]: one draw for the film, and one for its first chunk where that
  has steps of its own."""
  for_all, for_first = jax.random.split(key)
  exit_N = jnp.repeat(
    jax.random.randint(for_all, (1,), 0, step.rollout.steps), chunks
  )
  if not step.rollout.first_steps:
    return exit_N
  first = jax.random.randint(for_first, (), 0, step.rollout.first_steps)
  return exit_N.at[0].set(first)


def chunk_inputs(batch: Batch) -> ChunkInput:
  """What is asked of the chunks of a batch's films, with a leading N."""
  shots_BN = batch['shots']
  return ChunkInput(
    text_BWD=jnp.moveaxis(batch['text'], 1, 0),
    cut_B=jnp.diff(shots_BN, axis=1, prepend=shots_BN[:, :1]).T != 0,
  )


def begin(step: Step, dit, batch: Batch, key: jax.Array) -> RolloutState:
  """Films that have not begun, one for each of the batch."""
  return init_state(
    dit,
    step.memory,
    key_B=jax.random.split(key, len(batch['text'])),
    latent_shape=step.latent_shape,
    text_shape=batch['text'].shape[2:],
    guided=False,
    fused=False,
  )


def make_student_fn(
  make_step: Callable[[tuple[int, int, int, int]], Step], dit
) -> StudentFn:
  """-> student_fn(params, batch, key) -> (film [B, N, F, Y, X, C], batch).

  The film is of the prompts and cuts of the batch (that of teacher forcing),
  and differentiable in the parameters. `make_step` takes the shape of a
  chunk; its steps are few, without guidance, their commits separate.
  """

  def student_fn(params, batch, key):
    for_films, for_exits = jax.random.split(key)
    step = make_step(chunk_shape(batch))
    film_NBFYXC = roll(
      step,
      params,
      begin(step, dit, batch, for_films),
      chunk_inputs(batch),
      exit_steps(step, for_exits, batch['text'].shape[1]),
    )
    return jnp.moveaxis(film_NBFYXC, 0, 1), batch

  return student_fn


def make_window_fn(
  make_step: Callable[[tuple[int, int, int, int]], Step],
  dit,
  *,
  window: int,
  context: int,
) -> StudentFn:
  """-> student_fn(params, batch, key) -> (film [B, n, F, Y, X, C], its batch).

  For films longer than a score can read: the student rolls on from the start,
  as it is served, and only a window of n = `window` chunks, drawn anew at
  each call, is its film. The window's first `context` >= 1 chunks are history
  to the rest: they are constants, and masked in the batch.
  """

  def student_fn(params, batch, key):
    for_films, for_exits, for_start = jax.random.split(key, 3)
    step, chunks = make_step(chunk_shape(batch)), chunk_inputs(batch)
    length = len(chunks.cut_B)
    start = jax.random.randint(for_start, (), 0, length - window + 1)
    constant = jax.lax.stop_gradient(params)

    def served(i, carry):
      state, recent_nBFYXC = carry
      chunk = jax.tree.map(lambda x: x[i], chunks)
      state, output = step(constant, state, chunk)
      latents_BFYXC = output.latents_BFYXC
      return state, jnp.concatenate([recent_nBFYXC[1:], latents_BFYXC[None]])

    shape = (context, len(batch['text']), *step.latent_shape)
    carry = begin(step, dit, batch, for_films), jnp.zeros(shape, jnp.float32)
    state, recent = jax.lax.fori_loop(0, start + context, served, carry)
    part = _window(chunks, 0, start + context, window - context)
    exit_N = exit_steps(step, for_exits, window)[context:]
    film_NBFYXC = roll(step, params, state, part, exit_N)
    of = _window(batch | {'latents': _chunked(batch)}, 1, start, window)
    of['latents'] = of['latents'].reshape(
      len(of['text']), -1, *step.latent_shape[1:]
    )
    of['mask'] = of['mask'].at[:, :context].set(0)
    film = jnp.concatenate([recent, film_NBFYXC])
    return jnp.moveaxis(film, 0, 1), of

  return student_fn


def _window(tree, axis: int, start, length: int):
  """`length` entries of every leaf from `start` (int32 [])."""
  return jax.tree.map(
    lambda x: jax.lax.dynamic_slice_in_dim(x, start, length, axis), tree
  )


def _chunked(batch: Batch) -> jax.Array:
  """The batch's latents [B, N, F, Y, X, C]."""
  return batch['latents'].reshape(len(batch['text']), -1, *chunk_shape(batch))


def chunk_shape(batch: Batch) -> tuple[int, int, int, int]:
  """(F, Y, X, C) of the batch's chunks."""
  frames = batch['latents'].shape[1] // batch['text'].shape[1]
  return (frames, *batch['latents'].shape[2:])
