"""A student's film and its gradient, against a plain implementation."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion import flow, timesteps
from cinejax.models import rollout_pass
from cinejax.objectives import self_forcing
from cinejax.rollout.scan import make_scan

FRAME_WISE = {
  'film__frames_per_chunk': 1,
  'rollout__steps': 1,
  'rollout__first_steps': 4,
}


def _begin(one, batch):
  return self_forcing.begin(one.step, one.cfg.dit, batch, jax.random.key(3))


def _rolled(one, batch, params, exit_N):
  return self_forcing.roll(
    one.step,
    params,
    _begin(one, batch),
    self_forcing.chunk_inputs(batch),
    jnp.asarray(exit_N),
  )


def _plain(one, batch, params, exit_N):
  """The film by a loop over chunks and steps, as one graph.

  Gradients stop at the bank and at the input of each exit pass.
  """
  step, constant = one.step, jax.lax.stop_gradient(params)
  denoise_fn = rollout_pass.make_denoise_fn(one.cfg.dit, one.cfg.memory)
  state, film = _begin(one, batch), []
  chunks = self_forcing.chunk_inputs(batch)
  for i, last in enumerate(exit_N):
    chunk = jax.tree.map(lambda x, i=i: x[i], chunks)
    few = one.cfg.rollout.first_steps if i == 0 else 0
    grid = timesteps.student_grid(few or one.cfg.rollout.steps, 3.0)
    opened = step.begin_chunk(constant, state, chunk)
    view = step.passes.view(opened, opened.bank, opened.start_B)
    noise_J, frames_J = step.sampler.noise(opened), []
    x = noise_J[0]
    for j in range(last + 1):
      done = denoise_fn(
        params,
        jax.lax.stop_gradient(x)[:, None],
        jnp.full((x.shape[0], 1, x.shape[1]), grid[j]),
        chunk.text_BWD[:, None],
        jax.lax.stop_gradient(opened.bank.memory),
        view,
      )
      t_B = jnp.full(x.shape[:1], grid[j])
      x0 = flow.x0_of_velocity(
        jax.lax.stop_gradient(x), done.velocity_BFYXC, t_B
      )
      noise = noise_J[(j + 1) % len(noise_J)]
      x = flow.noised(x0, noise, jnp.full(x.shape[:1], grid[j + 1]))
      frames_J.append(done.rank_LBSR)
    film.append(x0)
    x0 = jax.lax.stop_gradient(x0)
    if one.cfg.rollout.commit == 'reuse':
      branches = jax.lax.stop_gradient((done,))
      opened = step.passes.write(opened, opened.start_B, branches)
      state = step._next(opened, chunk, x0)
    else:
      state = step.commit(constant, state, chunk, x0)
  return jnp.stack(film)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('overrides', 'exit_N'),
  [
    ({}, (2, 2, 2)),
    ({'memory__evict': 'oldest', 'dit__remat': 'full'}, (0,) * 5),
    (FRAME_WISE, (3, 0, 0)),
    ({'rollout__commit': 'reuse'}, (1, 1, 1)),
  ],
  ids=['third', 'first', 'frame-wise', 'reuse'],
)
def test_the_replay_is_the_gradient_through_the_rollout(
  studio, overrides, exit_N
):
  one = studio(**overrides)
  batch = one.batch(len(exit_N))
  shape = (len(exit_N), 2, one.cfg.film.frames_per_chunk, 2, 2, 16)
  cotangent = jax.random.normal(jax.random.key(8), shape)

  def of(film_fn):
    film, pull = jax.vjp(
      lambda params: film_fn(one, batch, params, exit_N), one.params
    )
    return film, pull(cotangent)[0]

  (film, replayed), (plain_film, plain) = (
    jax.jit(functools.partial(of, fn))() for fn in (_rolled, _plain)
  )
  np.testing.assert_allclose(film, plain_film, atol=1e-5)
  for a, b in zip(
    jax.tree.leaves(replayed), jax.tree.leaves(plain), strict=True
  ):
    assert np.abs(b).max() > 0
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


@pytest.mark.slow
@pytest.mark.parametrize('overrides', [{}, FRAME_WISE], ids=['four', 'one'])
def test_the_last_exit_is_the_film_that_is_served(studio, overrides):
  one = studio(**overrides)
  batch = one.batch(4)
  rollout = one.cfg.rollout
  exit_N = [max(rollout.steps, rollout.first_steps) - 1]
  exit_N += [rollout.steps - 1] * 3
  film = jax.jit(lambda: _rolled(one, batch, one.params, exit_N))()
  chunks = self_forcing.chunk_inputs(batch)
  _, served = make_scan(one.step)(one.params, _begin(one, batch), chunks)
  np.testing.assert_allclose(film, served.latents_BFYXC, atol=1e-6)
  frame_N = (served.frame_JLBR > -1).any((2, 3, 4))
  assert not frame_N[1:, rollout.steps :].any()  # steps that are not run


def test_without_a_cotangent_nothing_is_replayed(studio):
  one, chunks, passes = studio(), 3, []
  cfg = one.cfg.dit

  def denoise_fn(params, x_BSFYXC, t_BSF, text, bank, view, given, decide):
    jax.debug.callback(lambda: passes.append(1))
    shape = (cfg.layers, 2, 1, 3, cfg.heads, cfg.head_features)
    none = jnp.zeros((cfg.layers, 2, 1, one.cfg.memory.routed_frames), int)
    return rollout_pass.DenoiserOutput(
      velocity_BFYXC=params * x_BSFYXC[:, 0],
      key_LBSTHK=jnp.zeros(shape),
      value_LBSTHK=jnp.zeros(shape),
      rank_LBSR=none,
    )

  step = dataclasses.replace(
    one.step, denoise_fn=denoise_fn, caption_fn=lambda params, text: text
  )
  batch = one.batch(chunks)

  @jax.jit
  def gradient(scale):
    film, pull = jax.vjp(
      lambda params: self_forcing.roll(
        step,
        params,
        _begin(one, batch),
        self_forcing.chunk_inputs(batch),
        jnp.full(chunks, 1),
      ),
      jnp.float32(0.5),
    )
    return pull(scale * film)[0]

  def run(scale):
    passes.clear()
    found = float(gradient(jnp.float32(scale)))
    jax.effects_barrier()
    return found, len(passes)

  rolled = chunks * (2 + 1)  # two steps and a commit
  assert run(0.0) == (0.0, rolled)
  found, count = run(1.0)
  assert found and count == rolled + chunks * (1 + 1)
  assert jnp.isnan(run(jnp.nan)[0])


@pytest.mark.slow
def test_slots_that_no_frame_takes_change_no_film(studio):
  films = []
  for slots in (9, 16):
    one = studio(memory__bank_frames=slots)
    film_fn = jax.jit(functools.partial(_rolled, one, one.batch(3)))
    films.append(film_fn(one.params, (2, 2, 2)))
  np.testing.assert_allclose(*films, atol=1e-6)


@pytest.mark.slow
def test_one_executable_serves_every_exit(studio):
  one = studio()
  batch, films = one.batch(), []
  film_fn = jax.jit(lambda exit_N: _rolled(one, batch, one.params, exit_N))
  for exit_step in range(4):
    films.append(np.asarray(film_fn(jnp.full(3, exit_step))))
  assert film_fn._cache_size() == 1
  assert all(np.abs(a - b).max() > 1e-3 for a, b in itertools.pairwise(films))


def test_exits_are_one_draw_for_the_film(studio):
  def drawn(one, seeds=40):
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    draw = jax.vmap(lambda key: self_forcing.exit_steps(one.step, key, 5))
    return np.asarray(jax.jit(draw)(keys))

  exits = drawn(studio())
  assert set(exits[:, 0]) == {0, 1, 2, 3}
  assert (exits == exits[:, :1]).all()
  exits = drawn(studio(**FRAME_WISE | {'rollout__steps': 2}))
  assert set(exits[:, 0]) == {0, 1, 2, 3} and set(exits[:, 1]) == {0, 1}
  assert (exits[:, 1:] == exits[:, 1:2]).all()
  assert len({tuple(pair) for pair in exits[:, :2]}) == 8


def _temporary_bytes(one, chunks):
  batch = one.batch(chunks)

  def gradient(params, film_of):
    exit_N = jnp.full(chunks, 3)
    film, pull = jax.vjp(lambda p: _rolled(one, batch, p, exit_N), params)
    return pull(film * film_of)

  lowered = jax.jit(gradient).lower(one.params, jnp.float32(2))
  compiled = lowered.compile()
  return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_memory_grows_with_the_film_by_its_latents_alone(studio):
  one = studio()
  short, long = (_temporary_bytes(one, chunks) for chunks in (8, 32))
  latents = 24 * one.batch(1)['latents'].nbytes
  bank = jax.eval_shape(lambda: _begin(one, one.batch(1)).bank)
  banks = 24 * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(bank))
  # latents, their noise and gradient, and routed frames, but no stack of banks
  assert latents < long - short < banks / 2
