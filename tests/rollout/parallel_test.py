"""Streaming equals the parallel pass.

For each chunk, training's pass over a whole film gives the same as a pass over
a bank to which the clean past was committed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import evict
from cinejax.models import denoiser, rollout_pass
from cinejax.objectives import guidance

CHUNKS, FRAMES = 5, 3


def _film(seed):
  shape = (2, CHUNKS, FRAMES, 4, 4, 16)
  return jax.random.normal(jax.random.key(seed), shape)


def _inputs():
  """clean, noisy, t_BNF, text and shots of two films."""
  keys = jax.random.split(jax.random.key(3))
  t_BNF = jnp.broadcast_to(
    jax.random.uniform(keys[0], (2, CHUNKS, 1)), (2, CHUNKS, FRAMES)
  )
  text = jax.random.normal(keys[1], (2, CHUNKS, 8, 16))
  shots = jnp.array([[0, 0, 1, 1, 2], [0, 1, 1, 2, 3]])
  return _film(1), _film(2), t_BNF, text, shots


@pytest.fixture(scope='module')
def streamed(studio):
  """-> streamed(policy, scope) -> velocities; there is one form of these."""

  @functools.cache
  def stream(policy, scope):
    one = studio(
      memory__policy=policy,
      memory__scope=scope,
      dit__gate=scope == 'head',
      rollout__guidance=1.0,
    )
    return _streamed(one, *_inputs())

  return stream


def _streamed(one, clean, noisy, t_BNF, text, shots):
  cfg = one.cfg
  denoise = jax.jit(rollout_pass.make_denoise_fn(cfg.dit, cfg.memory))
  commit = jax.jit(one.step.commit)

  @jax.jit
  def reserved(state, shot_B):
    slot_BF = evict.choose_slots(
      state.bank,
      state.start_B,
      frames=FRAMES,
      window=cfg.memory.window_frames,
      evict=cfg.memory.evict,
    )
    bank = bank_lib.reserve(state.bank, slot_BF, state.start_B, shot_B)
    return bank.memory, one.step.passes.view(state, bank, state.start_B)

  state, outs = one.begin(), []
  for i in range(CHUNKS):
    chunk = one.chunks(1).replace(
      text_BWD=text[:, i], cut_B=shots[:, i] > shots[:, max(i - 1, 0)]
    )
    memory, view = reserved(state, shots[:, i])
    done = denoise(
      one.params,
      noisy[:, i : i + 1],
      t_BNF[:, i : i + 1],
      text[:, i : i + 1],
      memory,
      view,
    )
    outs.append(done.velocity_BFYXC)
    state = commit(one.params, state, chunk, clean[:, i])
  return jnp.stack(outs, 1)


@pytest.mark.parametrize(
  ('form', 'policy', 'scope'),
  [
    pytest.param('routed', 'camr', 'layer', marks=pytest.mark.slow),
    pytest.param('routed', 'camr', 'head', marks=pytest.mark.slow),
    pytest.param('routed', 'shot_sink', 'layer', marks=pytest.mark.slow),
    pytest.param('routed', 'rag', 'layer', marks=pytest.mark.slow),
    pytest.param('routed', 'full', 'layer', marks=pytest.mark.slow),
    ('full', 'full', 'layer'),
  ],
)
def test_streaming_is_parallel(studio, streamed, form, policy, scope):
  one = studio(
    memory__policy=policy,
    memory__scope=scope,
    dit__gate=scope == 'head',
    memory__training=form,
    rollout__guidance=1.0,
  )
  film_fn = jax.jit(denoiser.make_film_fn(one.cfg.dit, one.cfg.memory))
  parallel, _ = film_fn(one.params, *_inputs(), jax.random.key(4))
  np.testing.assert_allclose(streamed(policy, scope), parallel, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('cfg_routing', ['conditional', 'own'])
def test_a_guided_teacher_is_a_guided_rollout(studio, cfg_routing):
  """The negative branch reads the same frames in both."""
  one = studio(memory__cfg_routing=cfg_routing, rollout__guidance=3.0)
  clean, noisy = _film(1), _film(2)
  key = jax.random.key(3)
  films = guidance.Films(
    clean_BNFYXC=clean,
    text_BNWD=jax.random.normal(key, (2, CHUNKS, 8, 16)),
    shots_BN=jnp.array([[0, 0, 1, 1, 2], [0, 1, 1, 2, 3]]),
    mask_BN=jnp.ones((2, CHUNKS)),
  )
  t_BNF = jnp.full(films.shape_BNF, 0.4)
  film_fn = denoiser.make_film_fn(one.cfg.dit, one.cfg.memory)
  velocity_fn = guidance.guided(
    film_fn, films, key, jnp.asarray(one.step.negative_text_WD), 3.0
  )
  parallel = jax.jit(velocity_fn)(one.params, noisy, t_BNF)
  streamed = _guided(one, films, noisy, t_BNF)
  np.testing.assert_allclose(streamed, parallel, atol=3e-5)


def _guided(one, films, noisy, t_BNF):
  passes, commit = one.step.passes, jax.jit(one.step.commit)
  shots_BN, text_BNWD = films.shots_BN, films.text_BNWD

  @jax.jit
  def velocity(params, state, x, t_BSF, text_BSWD):
    view = passes.view(state, state.bank, state.start_B)
    shared = passes.read_text(params, state, text_BSWD)
    return passes.run(params, state, x, t_BSF, shared, view, None, True)

  state, outs = one.begin(), []
  for i in range(CHUNKS):
    now = slice(i, i + 1)
    opened = passes.reserve_slots(state.replace(shot_B=shots_BN[:, i]))
    done = velocity(
      one.params, opened, noisy[:, now], t_BNF[:, now], text_BNWD[:, now]
    )
    outs.append(done.velocity_BFYXC)
    cut_B = shots_BN[:, i] > shots_BN[:, max(i - 1, 0)]
    chunk = one.chunks(1).replace(text_BWD=text_BNWD[:, i], cut_B=cut_B)
    state = commit(one.params, state, chunk, films.clean_BNFYXC[:, i])
  return jnp.stack(outs, 1)
