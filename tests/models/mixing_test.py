"""Mixers against attention with a dense mask, and against what banks hold."""

import functools

import einops
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.models import bank_mixing, film_mixing, mixing

CHUNKS, FRAMES, TOKENS, HEADS, FEATURES = 4, 3, 4, 2, 8
WINDOW, ROUTED, SLOTS = 3, 2, 9
GRID = mixing.TokenGrid(frames=FRAMES, rows=2, columns=2, implementation='xla')


@pytest.mark.parametrize('storage', ['compute', 'int8'])
def test_a_pending_chunk_is_read_as_it_will_be_stored(storage):
  mixer = bank_mixing.BankMixer(
    GRID,
    routed=ROUTED,
    by_content=True,
    absolute=False,
    scope='layer',
    route_layer=0,
  )
  shape = (3, 1, 2, FRAMES * TOKENS, HEADS, FEATURES)
  past, packed = jax.random.normal(jax.random.key(0), (2, *shape))

  def frames(x):  # of the first segment, as a bank of one layer takes them
    return x[:, 0].reshape(1, 1, FRAMES, TOKENS, HEADS, FEATURES)

  def view(bank, start, pending=False):
    return router.bank_view(
      bank,
      jnp.array([start]),
      frames=FRAMES,
      window=WINDOW,
      routed=ROUTED,
      policy='camr',
      pending=pending,
    )

  def mix(qkv, bank, view):
    shared = mixing.Routing(view=view, decide=jnp.array(True))
    layer = mixing.LayerMemory(
      index=jnp.array(0),
      memory=jax.tree.map(lambda x: x[0], bank.memory),
      given_BSR=None,
    )
    return mixer(*qkv, shared, layer, router.none_routed(view, ROUTED))[0]

  @jax.jit
  def both(past, packed):
    bank = bank_lib.empty(
      layers=1,
      batch=1,
      frames=SLOTS,
      tokens=TOKENS,
      heads=HEADS,
      features=FEATURES,
      dtype=jnp.float32,
      storage=storage,
    )
    for start in (0, 3, 6):
      slot_BF, start_B = start + jnp.arange(FRAMES)[None], jnp.array([start])
      before, bank = bank, bank_lib.reserve(bank, slot_BF, start_B, start_B)
      if not start:
        bank = bank_lib.write(bank, start_B, *map(frames, past[1:]))
    views = router.join(view(before, 3), view(bank, 6, pending=True))
    done = bank_lib.write(bank, jnp.array([3]), *map(frames, packed[1:]))
    alone = mix(packed[:, :, 1:], done, view(done, 6))
    return mix(packed, bank, views)[:, 1], alone[:, 0]

  np.testing.assert_allclose(*both(past, packed), atol=1e-6)


def _qkv():
  shape = (3, 1, 2 * CHUNKS, FRAMES * TOKENS, HEADS, FEATURES)
  return tuple(jax.random.normal(jax.random.key(0), shape))


def _dense(q, k, v, frame_mask_SE):
  """Attention by a [2NT, 2NT] mask, absolute positions.

  frame_mask_SE: which clean frames a segment sees; its own it always does.
  """
  frame_SF = jnp.arange(CHUNKS * FRAMES).reshape(CHUNKS, FRAMES)
  frame = jnp.concatenate([frame_SF, frame_SF])[None]
  q, k = GRID.rotate(q, frame), GRID.rotate(k, frame)
  q, k, v = (einops.rearrange(x, 'b s t h k -> b h (s t) k') for x in (q, k, v))
  segments = 2 * CHUNKS
  own = np.repeat(np.repeat(np.eye(segments), FRAMES * TOKENS, 0), FRAMES, 1)
  seen = np.zeros((segments, segments * FRAMES), bool)
  seen[:, : CHUNKS * FRAMES] = frame_mask_SE
  seen = np.repeat(seen, FRAMES * TOKENS, 0) | (own > 0)
  seen = np.repeat(seen, TOKENS, 1)
  logits = jnp.einsum('bhqk,bhmk->bhqm', q, k) / np.sqrt(FEATURES)
  weights = jax.nn.softmax(jnp.where(seen[None, None], logits, -jnp.inf), -1)
  out = jnp.einsum('bhqm,bhmk->bhqk', weights, v)
  return einops.rearrange(out, 'b h (s t) k -> b s t h k', s=segments)


def _history():
  """Clean frames before each segment's chunk, [2N, N F]."""
  start_S = np.tile(np.arange(CHUNKS) * FRAMES, 2)
  return np.arange(CHUNKS * FRAMES)[None] < start_S[:, None]


def _routed_form(window, routed, policy, scope='layer'):
  mixer = mixing.RoutedHistoryMixer(
    GRID,
    routed=routed,
    by_content=policy == 'camr',
    absolute=policy == 'full',
    scope=scope,
    route_layer=0,
    by_head=scope == 'head',
    chunks=CHUNKS,
  )
  shots = jnp.zeros((1, CHUNKS), jnp.int32)
  view = router.film_view(
    shots, frames=FRAMES, window=window, routed=routed, policy=policy
  )
  view = router.join(view, view)
  shared = mixing.Routing(view=view, decide=jnp.array(True))
  layer = mixing.LayerMemory(index=jnp.array(0), memory=None, given_BSR=None)
  rank = router.none_routed(view, routed)

  def form(q, k, v, gate_2H=None):
    gated = layer.replace(gate_2H=gate_2H)
    out, chosen, _ = mixer(q, k, v, shared, gated, rank)
    return out, router.routed_frames(view, chosen)

  return form


def _agree(form, dense):
  """Values and gradients of both, relative to the gradient's norm."""
  weight = jax.random.normal(jax.random.key(7), _qkv()[0].shape)

  def loss(f, args):
    return jnp.sum(f(*args) * weight)

  results = [
    jax.jit(jax.value_and_grad(functools.partial(loss, f)))(_qkv())
    for f in (form, dense)
  ]
  np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
  for a, b in zip(results[0][1], results[1][1], strict=True):
    assert jnp.linalg.norm(a - b) <= 1e-5 * jnp.linalg.norm(b)


def test_full_form_is_the_masked_dense_one():
  mixer = film_mixing.FullHistoryMixer(GRID, CHUNKS)
  _agree(
    lambda q, k, v: mixer(q, k, v, None, None, None)[0],
    lambda q, k, v: _dense(q, k, v, _history()),
  )


@pytest.mark.parametrize('scope', ['layer', 'head'])
def test_routed_form_is_the_masked_dense_one(scope):
  """R = all, so that positions by role are absolute ones, shifted."""
  form = _routed_form(window=3, routed=9, policy='camr', scope=scope)
  _agree(
    lambda q, k, v: form(q, k, v)[0],
    lambda q, k, v: _dense(q, k, v, _history()),
  )


def test_routed_form_reads_window_and_routed_frames_alone():
  """With absolute positions a subset of frames is a mask of frames."""
  form = _routed_form(window=3, routed=2, policy='full')
  q, k, v = _qkv()
  out, frames = form(q, k, v)
  start_S = np.tile(np.arange(CHUNKS) * FRAMES, 2)
  mask = _history() & (np.arange(12)[None] >= start_S[:, None] - 3)
  for segment, routed in enumerate(np.asarray(frames[0])):
    mask[segment, routed[routed >= 0]] = True
  assert mask.sum(1).max() == 5
  np.testing.assert_allclose(out, _dense(q, k, v, mask), atol=1e-5)


def _alone(fn, *xs):
  """fn of each head alone, side by side; heads are the axis before the last."""
  parts = zip(*(jnp.split(x, HEADS, -2) for x in xs), strict=True)
  return jnp.concatenate([fn(*part) for part in parts], -2)


def test_heads_that_choose_apart_are_layers_of_one_head():
  by_head = _routed_form(window=3, routed=2, policy='camr', scope='head')
  layer = _routed_form(window=3, routed=2, policy='camr')
  _agree(
    lambda *qkv: by_head(*qkv)[0],
    lambda *qkv: _alone(lambda *one: layer(*one)[0], *qkv),
  )
  # the heads do choose other frames, or this would hold for any routing
  first, second = np.split(np.asarray(by_head(*_qkv())[1]), HEADS, -1)
  assert (first != second).any()


@pytest.mark.parametrize(
  'storage',
  [
    pytest.param('compute', marks=pytest.mark.slow),
    'int8',
    pytest.param('int4', marks=pytest.mark.slow),
  ],
)
def test_a_bank_serves_heads_that_choose_apart(storage):
  """As above in a rollout; in later passes over a chunk too."""
  shape = (3, 1, 1, FRAMES * TOKENS, HEADS, FEATURES)
  q, k, v = jax.random.normal(jax.random.key(3), shape)
  frames = jax.random.normal(
    jax.random.key(4), (2, 1, 1, SLOTS, TOKENS, HEADS, FEATURES)
  )

  def read(scope, q, k, v, frames, gate_2H1, again=False):
    mixer = bank_mixing.BankMixer(
      GRID,
      ROUTED,
      True,
      absolute=False,
      scope=scope,
      route_layer=0,
      by_head=scope == 'head',
    )
    bank = bank_lib.empty(
      layers=1,
      batch=1,
      frames=SLOTS,
      tokens=TOKENS,
      heads=q.shape[-2],
      features=FEATURES,
      dtype=jnp.float32,
      storage=storage,
    )
    start_B = jnp.zeros(1, jnp.int32)
    bank = bank_lib.reserve(bank, jnp.arange(SLOTS)[None], start_B, start_B)
    bank = bank_lib.write(bank, start_B, *frames)
    memory = jax.tree.map(lambda x: x[0], bank.memory)
    view = router.bank_view(
      bank,
      jnp.array([SLOTS]),
      frames=FRAMES,
      window=WINDOW,
      routed=ROUTED,
      policy='camr',
    )
    context = mixer.with_window(memory, view, q.dtype) if again else None
    layer = mixing.LayerMemory(
      index=jnp.array(0),
      memory=memory,
      given_BSR=None,
      context=context,
      gate_2H=gate_2H1[..., 0],
    )
    shared = mixing.Routing(view=view, decide=jnp.array(True))
    return mixer(q, k, v, shared, layer, None)[0]

  arguments = q, k, v, frames, jax.random.normal(jax.random.key(5), (2, 2, 1))
  apart = jax.jit(functools.partial(read, 'head'))(*arguments)
  alone = jax.jit(functools.partial(_alone, functools.partial(read, 'layer')))
  np.testing.assert_allclose(apart, alone(*arguments), atol=1e-6)
  again = jax.jit(functools.partial(read, 'head', again=True))(*arguments)
  np.testing.assert_allclose(again, apart, atol=1e-6)


def test_a_gate_weighs_the_values_of_routed_frames_alone():
  form = _routed_form(window=3, routed=2, policy='camr')
  q, k, v = _qkv()
  without, frames = form(q, k, v)
  gate = lambda bias: jnp.array([[bias] * HEADS, [0.0] * HEADS])  # noqa: E731
  np.testing.assert_array_equal(form(q, k, v, gate(0.0))[0], without)
  # the last segment alone, with no values where its routed frames are
  values = einops.rearrange(v, 'b s (f p) h k -> b (s f) p h k', f=FRAMES)
  closed = values.at[0, frames[0, -1]].set(0.0)
  closed = einops.rearrange(closed, 'b (s f) p h k -> b s (f p) h k', f=FRAMES)
  expected = form(q, k, closed)[0][0, -1]
  found = form(q, k, v, gate(-100.0))[0][0, -1]
  np.testing.assert_allclose(found, expected, atol=1e-6)
  double = form(q, k, v, gate(100.0))[0][0, -1]
  np.testing.assert_allclose(
    double - without[0, -1], without[0, -1] - expected, atol=1e-5
  )
  assert np.abs(expected - without[0, -1]).max() > 0.01
