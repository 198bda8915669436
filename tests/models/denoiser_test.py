"""Whole films in training: causality, copies, unrolled layers, precision."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.models import denoiser, rollout_pass

CHUNKS, FRAMES, TOKENS = 4, 3, 4


@pytest.mark.parametrize(
  'form', [pytest.param('full', marks=pytest.mark.slow), 'routed']
)
def test_a_film_of_one_chunk_is_bidirectional_in_every_form(cfg, params, form):
  memory = dataclasses.replace(cfg.memory, training=form)
  x = jax.random.normal(jax.random.key(2), (2, 2, 1, 3, 4, 4, cfg.dit.channels))
  t = jnp.full((2, 1, 3), 0.7)
  text = jax.random.normal(jax.random.key(3), (2, 1, 5, cfg.dit.text_features))
  arguments = (*x, t, text, jnp.zeros((2, 1), jnp.int32), jax.random.key(4))
  forced, whole = (
    jax.jit(film_fn)(params, *arguments)[0]
    for film_fn in (
      denoiser.make_film_fn(cfg.dit, memory),
      denoiser.make_bidirectional_film_fn(cfg.dit),
    )
  )
  np.testing.assert_allclose(forced, whole, atol=1e-5)
  assert jnp.abs(whole).max() > 0.1


def test_padding_is_seen_by_no_frame_of_a_bidirectional_film(cfg, params):
  whole_fn = jax.jit(denoiser.make_bidirectional_film_fn(cfg.dit))
  x = jax.random.normal(jax.random.key(2), (2, 4, 3, 4, 4, cfg.dit.channels))
  t = jnp.full((2, 4, 3), 0.7)
  text = jax.random.normal(jax.random.key(3), (2, 4, 5, cfg.dit.text_features))
  shots = jnp.array([[0, 1, 1, 2], [0, 0, -1, -1]], jnp.int32)
  v, _ = whole_fn(params, None, x, t, text, shots, None)
  other = x.at[1, 2:].add(1.0)
  padded, _ = whole_fn(params, None, other, t, text, shots, None)
  np.testing.assert_array_equal(padded[0], v[0])
  np.testing.assert_array_equal(padded[1, :2], v[1, :2])
  alone, _ = whole_fn(
    params, None, x[:, :2], t[:, :2], text[:, :2], shots[:, :2], None
  )
  np.testing.assert_allclose(alone[1], v[1, :2], atol=1e-5)
  assert jnp.abs(alone[0] - v[0, :2]).max() > 1e-3  # all of a whole film


@pytest.fixture(scope='module')
def gradients(cfg, params):
  """-> gradients(form, copies, unroll) -> (gradients, velocities).

  They are those of a film_fn of noisy copies, which have the numbers `copies`.
  """
  shape = (1, CHUNKS, FRAMES, 4, 4, 16)
  clean, *noisy = jax.random.normal(jax.random.key(3), (3, *shape))
  text = jax.random.normal(jax.random.key(4), (1, CHUNKS, 8, 16))
  times = [jnp.full(shape[:3], t) for t in (0.3, 0.8)]
  rest = text, jnp.zeros((1, CHUNKS), jnp.int32), jax.random.key(0)

  @functools.cache
  def gradient_fn(form, unroll):
    film_fn = denoiser.make_film_fn(
      dataclasses.replace(cfg.dit, unroll=unroll),
      dataclasses.replace(cfg.memory, training=form),
    )

    def loss(params, noisy, t):
      v, _ = film_fn(params, clean, noisy, t, *rest)
      return jnp.square(v).mean(), v

    return jax.jit(jax.grad(loss, has_aux=True))

  @functools.cache
  def compute(form, copies, unroll='none'):
    film, t = (
      jnp.concatenate([each[n] for n in copies], 1) for each in (noisy, times)
    )
    return gradient_fn(form, unroll)(params, film, t)

  return compute


@pytest.mark.slow
@pytest.mark.parametrize('form', ['full', 'routed'])
def test_noisy_copies_are_as_many_films(gradients, form):
  grads, v = gradients(form, (0, 1))
  alone = [gradients(form, (n,)) for n in (0, 1)]
  expected = jnp.concatenate([v for _, v in alone], 1)
  np.testing.assert_allclose(v, expected, atol=1e-5)
  mean = jax.tree.map(lambda a, b: (a + b) / 2, *[grads for grads, _ in alone])
  for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(mean), strict=True):
    assert jnp.linalg.norm(a - b) <= 1e-5 * max(1e-3, jnp.linalg.norm(b))


@pytest.mark.slow
@pytest.mark.parametrize('form', ['full', 'routed'])
def test_unrolled_layers_are_those_of_the_scan(gradients, form):
  """In the full form, the last layer also leaves its clean half out."""
  scan_grads, scan_v = gradients(form, (0, 1))
  grads, v = gradients(form, (0, 1), unroll='training')
  np.testing.assert_allclose(v, scan_v, atol=1e-5)
  for a, b in zip(
    jax.tree.leaves(grads), jax.tree.leaves(scan_grads), strict=True
  ):
    assert jnp.linalg.norm(a - b) <= 1e-5 * max(1e-3, jnp.linalg.norm(b))


@pytest.mark.parametrize(
  'form', [pytest.param('full', marks=pytest.mark.slow), 'routed']
)
def test_causality_by_gradient(cfg, params, form):
  memory = dataclasses.replace(cfg.memory, training=form)
  film_fn = denoiser.make_film_fn(cfg.dit, memory)
  shape = (1, CHUNKS, FRAMES, 4, 4, 16)
  clean, noisy = jax.random.normal(jax.random.key(3), (2, *shape))
  text = jax.random.normal(jax.random.key(4), (1, CHUNKS, 8, 16))
  t = jnp.full(shape[:3], 0.5)
  shots = jnp.zeros((1, CHUNKS), jnp.int32)
  chunk = 2

  def output(clean, noisy, text):
    v, _ = film_fn(params, clean, noisy, t, text, shots, jax.random.key(0))
    return jnp.sum(jnp.sin(v[:, chunk]))

  grads = jax.jit(jax.grad(output, (0, 1, 2)))(clean, noisy, text)
  by_clean, by_noisy, by_text = (
    np.abs(np.asarray(g)).reshape(CHUNKS, -1).max(1) for g in grads
  )
  assert (by_clean > 0).tolist() == [True, True, False, False]
  assert (by_noisy > 0).tolist() == [False, False, True, False]
  assert (by_text > 0).tolist() == [True, True, True, False]


def _equations(jaxpr):
  """Every equation of a jaxpr and of the jaxprs inside it."""
  for equation in jaxpr.eqns:
    yield equation
    for value in equation.params.values():
      for inner in jax.tree.leaves(
        value, is_leaf=lambda x: hasattr(x, 'eqns') or hasattr(x, 'jaxpr')
      ):
        inner = getattr(inner, 'jaxpr', inner)
        if hasattr(inner, 'eqns'):
          yield from _equations(inner)


def _film_equations(dit, memory, params, form, chunks):
  memory = dataclasses.replace(memory, training=form)
  x = jnp.zeros((1, chunks, FRAMES, 4, 4, 16))
  text = jnp.zeros((1, chunks, 8, 16))
  shots = jnp.zeros((1, chunks), jnp.int32)
  jaxpr = jax.make_jaxpr(denoiser.make_film_fn(dit, memory))(
    params, x, x, jnp.zeros(x.shape[:3]), text, shots, jax.random.key(0)
  )
  return _equations(jaxpr.jaxpr)


def test_time_is_multiplied_in_float32_on_every_device(cfg, params):
  """TPUs, and GPUs by TensorFloat-32, would lose precision of time."""
  half = dataclasses.replace(cfg.dit, compute_dtype='bfloat16')
  products = [
    equation
    for equation in _film_equations(half, cfg.memory, params, 'routed', 2)
    if equation.primitive.name == 'dot_general'
    and all(x.aval.dtype == jnp.float32 for x in equation.invars)
  ]
  assert len(products) == 4  # three of time, and the router's
  highest = (jax.lax.Precision.HIGHEST,) * 2
  assert all(product.params['precision'] == highest for product in products)


@pytest.mark.parametrize('form', ['full', 'routed'])
def test_no_array_of_all_tokens_by_all_tokens(cfg, params, form):
  chunks = 8
  tokens = 2 * chunks * FRAMES * TOKENS
  shapes = [
    tuple(variable.aval.shape)
    for equation in _film_equations(cfg.dit, cfg.memory, params, form, chunks)
    for variable in equation.outvars
  ]
  assert any(tokens // (2 * chunks) in shape for shape in shapes)
  assert not any(sorted(shape)[-2:] == [tokens, tokens] for shape in shapes)


@pytest.mark.slow
def test_remat_changes_the_program_and_not_the_gradient(cfg, params):
  x = jax.random.normal(jax.random.key(5), (1, 1, 3, 4, 4, 16))
  text = jnp.ones((1, 1, 8, 16))
  results = []
  for remat in ('none', 'full', 'dots'):
    dit = dataclasses.replace(cfg.dit, remat=remat)
    fn = denoiser.make_bidirectional_fn(dit)

    def loss(params, fn=fn):
      return jnp.sum(jnp.square(fn(params, x, jnp.ones((1, 1, 3)), text)))

    grad = jax.jit(jax.grad(loss))(params)
    jaxpr = str(jax.make_jaxpr(jax.grad(loss))(params))
    # GELU is always recomputed, by jax.checkpoint without a policy.
    results.append(('policy=<' in jaxpr, grad))
  assert [uses for uses, _ in results] == [False, True, True]
  for _, grad in results[1:]:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
      grad,
      results[0][1],
    )


@pytest.mark.slow
def test_a_deciding_layer_decides_for_those_above(cfg, params):
  memory = dataclasses.replace(
    cfg.memory, scope='shared', route_layer=1, policy='camr'
  )
  dit = dataclasses.replace(cfg.dit, layers=3)
  tree = denoiser.init_params(dit, jax.random.key(0))
  bank = bank_lib.empty(
    layers=3,
    batch=1,
    frames=memory.bank_frames,
    tokens=TOKENS,
    heads=dit.heads,
    features=dit.head_features,
    dtype=jnp.float32,
  )
  for start in range(12):
    start_B = jnp.array([start])
    bank = bank_lib.reserve(bank, jnp.array([[start]]), start_B, start_B * 0)
    k = jax.random.normal(
      jax.random.key(start), (3, 1, 1, TOKENS, dit.heads, dit.head_features)
    )
    bank = bank_lib.write(bank, start_B, k, k)
  view = router.bank_view(
    bank,
    jnp.array([12]),
    frames=FRAMES,
    window=memory.window_frames,
    routed=memory.routed_frames,
    policy='camr',
  )
  done = rollout_pass.make_denoise_fn(dit, memory)(
    tree,
    jnp.ones((1, 1, FRAMES, 4, 4, 16)),
    jnp.ones((1, 1, FRAMES)),
    jnp.ones((1, 1, 8, 16)),
    bank.memory,
    view,
  )
  ranks = np.asarray(done.rank_LBSR)[:, 0, 0]
  none = memory.bank_frames
  assert (ranks[0] == none).all() and (ranks[1] < none).all()
  np.testing.assert_array_equal(ranks[1], ranks[2])


def test_resting_types_change_nothing_in_bfloat16(cfg, params):
  dit = dataclasses.replace(cfg.dit, compute_dtype='bfloat16')
  types = denoiser.resting_types(dit, params)
  assert types['blocks']['mlp_in']['kernel'] == jnp.bfloat16
  for layer in ('time_in', 'time_out', 'time_projection'):
    assert types[layer]['kernel'] == types[layer]['bias'] == jnp.float32
  assert types['blocks']['cross_norm']['bias'] == jnp.float32
  assert types['blocks']['modulation'] == jnp.float32
  x = jax.random.normal(jax.random.key(2), (1, 1, 3, 4, 4, dit.channels))
  text = jax.random.normal(jax.random.key(3), (1, 1, 8, dit.text_features))
  fn = jax.jit(denoiser.make_bidirectional_fn(dit))
  t = jnp.full((1, 1, 3), 0.5)
  rested = jax.tree.map(lambda x, dtype: x.astype(dtype), params, types)
  np.testing.assert_array_equal(fn(rested, x, t, text), fn(params, x, t, text))
