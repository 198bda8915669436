"""A student's own film as a function of its parameters (Self Forcing).

A film is rolled out as it will be served, with the same step, bank and router.
Each chunk ends at a step s, which is drawn uniformly for the whole film:

  x^(i) = f_theta(x_s^(i), s; bank_i),   f(x, t) = x - t v                  (1)

The gradient is that of (1) alone: the bank and all that led to x_s^(i) are
constants. With the cotangent c of the film it is

  sum_i  c^(i) . d f_theta(x_s^(i), s; bank_i) / d theta                    (2)

a sum over independent chunks, which `roll` computes in two phases. The rollout,
without gradient, stores for each chunk only its latents and the input and ranks
of its last pass. The backward pass is a scan that replays the last passes one
by one and accumulates (2); where c is 0, in updates that do not train the
student, nothing is replayed. The replay has a bank of its own and commits each
chunk again, which costs one more pass a chunk; but banks are never stacked, so
that memory does not grow with the film. (Huang et al. 2025, section 3.)

Where the first chunk of a film has a number of steps of its own, as in one- and
two-step frame-wise models, its exit step is drawn separately.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.rollout.state import ChunkInput, RolloutState, init_state
from cinejax.rollout.step import Step

Batch = dict[str, jax.Array]
# (params, batch, key) -> (film_BNFYXC, the part of the batch that it follows)
StudentFn = Callable[[Any, Batch, jax.Array], tuple[jax.Array, Batch]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def roll(
  step: Step,
  params: Any,
  state: RolloutState,
  chunks: ChunkInput,
  exit_N: jax.Array,
) -> jax.Array:
  """Rolls out the film [N, B, F, Y, X, C] after `state`, eq. (1) and (2).

  Leaves of `chunks` have a leading N; exit_N are the exit steps of the chunks,
  int32. Differentiable in `params` alone.
  """
  return _forward(step, params, state, chunks, exit_N)[0]


def _forward(step, params, state, chunks, exit_N):
  def body(state, inputs):
    state, output, last = step.roll(params, state, *inputs)
    return state, (output, last)

  _, outputs = jax.lax.scan(body, state, (chunks, exit_N))
  return outputs[0].latents_BFYXC, (params, state, chunks, outputs)


def _backward(step, saved, cotangent_NBFYXC):
  params, state, chunks, outputs = saved
  none = jax.tree.map(jnp.zeros_like, params)

  def body(carry, inputs):
    state, grads = carry
    chunk, (output, last), cotangent = inputs
    state = step.begin_chunk(params, state, chunk)
    _, pull, branches = jax.vjp(
      lambda p: step.replay(p, state, chunk, last), params, has_aux=True
    )
    grads = jax.tree.map(jnp.add, grads, *pull(cotangent))
    state = step.end_chunk(params, state, chunk, output, branches)
    return (state, grads), None

  def replay():
    inputs = chunks, outputs, cotangent_NBFYXC
    (_, grads), _ = jax.lax.scan(body, (state, none), inputs)
    return grads

  # the cotangent is zero in updates that do not train the student
  grads = jax.lax.cond(jnp.any(cotangent_NBFYXC), replay, lambda: none)
  return grads, None, None, None


roll.defvjp(_forward, _backward)


def exit_steps(step: Step, key: jax.Array, chunks: int) -> jax.Array:
  """Draws the exit steps [N], int32, of the chunks of a film.

  All are the same, except that of the first chunk if it has a number of steps
  of its own.
  """
  for_all, for_first = jax.random.split(key)
  exit_N = jnp.repeat(
    jax.random.randint(for_all, (1,), 0, step.rollout.steps), chunks
  )
  if not step.rollout.first_steps:
    return exit_N
  first = jax.random.randint(for_first, (), 0, step.rollout.first_steps)
  return exit_N.at[0].set(first)


def chunk_inputs(batch: Batch) -> ChunkInput:
  """The inputs of the chunks of a batch's films; leaves have a leading N."""
  shots_BN = batch['shots']
  return ChunkInput(
    text_BWD=jnp.moveaxis(batch['text'], 1, 0),
    cut_B=jnp.diff(shots_BN, axis=1, prepend=shots_BN[:, :1]).T != 0,
  )


def begin(step: Step, dit, batch: Batch, key: jax.Array) -> RolloutState:
  """The state before the first chunk, of a film for each of the batch."""
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
  """Makes student_fn(params, batch, key) -> (film [B, N, F, Y, X, C], batch).

  The film has the prompts and cuts of the batch, which is that of teacher
  forcing, and is differentiable in the parameters. `make_step` takes the shape
  (F, Y, X, C) of a chunk; its step has a few-step sampler, no guidance and no
  fused commits. `dit` has the sizes of the student.
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
  """Makes student_fn(params, batch, key) -> (film [B, n, F, Y, X, C], batch).

  For films that are longer than a score can read: the student makes the film
  from its start, as it is served, and a window of n = `window` chunks, drawn at
  each call, is returned, with its part of the batch. The first `context` >= 1
  chunks of the window are history for the others: they are constants, and
  masked in the batch. `make_step` and `dit` are as in `make_student_fn`.
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
  """`length` entries of each leaf along `axis`, from `start` (int32 []) on."""
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
