"""Every implementation against plain mathematics, gradients included."""

import functools
import importlib.util
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh
from cinejax.models import attention, splash

HEADS, FEATURES = 4, 16
PLUGINS = ('jax_cuda12_plugin', 'jax_cuda13_plugin')
ROOT = pathlib.Path(__file__).resolve().parents[2]


def _qkv(queries, keys, batch=2, seed=0):
  return tuple(
    jax.random.normal(key, (batch, length, HEADS, FEATURES))
    for key, length in zip(
      jax.random.split(jax.random.key(seed), 3),
      (queries, keys, keys),
      strict=True,
    )
  )


def _plain(q, k, v, seen_BQM):
  logits = jnp.einsum('bqhk,bmhk->bhqm', q, k) / np.sqrt(FEATURES)
  logits = jnp.where(seen_BQM[:, None], logits, -jnp.inf)
  return jnp.einsum('bhqm,bmhk->bqhk', jax.nn.softmax(logits, -1), v)


def _film(q, k, v, implementation):
  """attend_film of [B, S T, H, K], with N = 3 and T = 45 or 4."""
  tokens = 45 if q.shape[1] > 45 else 4
  split = lambda x: x.reshape(len(x), -1, tokens, HEADS, FEATURES)  # noqa: E731
  out = attention.attend_film(split(q), split(k), split(v), 3, implementation)
  return out.reshape(q.shape)


def _film_mask(chunks, tokens, copies=1, skipped=0):
  """Which token sees which; queries are those after `skipped` segments."""
  segment = np.repeat(np.arange((1 + copies) * chunks), tokens)
  past = segment[None] < (segment % chunks)[:, None]
  mask = past | (segment[None] == segment[:, None])
  return mask[skipped * tokens :]


def _agree(forms, plain, args):
  """Values and gradients of each form, relative to the gradient's norm."""
  weight = jax.random.normal(jax.random.key(9), args[0].shape)

  def value_and_grad(form):
    total = lambda args: jnp.sum(form(*args) * weight)  # noqa: E731
    return jax.jit(jax.value_and_grad(total))(args)

  value, grads = value_and_grad(plain)
  for form in forms:
    found, found_grads = value_and_grad(form)
    np.testing.assert_allclose(found, value, rtol=1e-4)
    for a, b in zip(found_grads, grads, strict=True):
      assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b)


def test_a_length_is_a_mask_of_the_keys_beyond():
  q, k, v = _qkv(130, 150)
  length_B = jnp.array([150, 37])
  seen = jnp.arange(150)[None, None] < length_B[:, None, None]
  _agree(
    [
      lambda *args, name=name: attention.attend(*args, length_B, name)
      for name in ('xla', 'splash')
    ],
    lambda *args: _plain(*args, jnp.broadcast_to(seen, (2, 130, 150))),
    (q, k, v),
  )


@pytest.mark.parametrize(
  ('copies', 'skipped'), [(1, 0), (2, 0), (1, 3), (2, 3)]
)
def test_a_film_is_its_masked_dense_form(copies, skipped):
  """Chunks of 45 tokens end within blocks; the end is padding."""
  mask = jnp.asarray(_film_mask(3, 45, copies, skipped))[None]
  keys = 3 * (1 + copies) * 45
  names = ('xla', 'splash') if skipped == 0 or copies == 2 else ('xla',)
  _agree(
    [lambda *args, name=name: _film(*args, name) for name in names],
    lambda *args: _plain(*args, mask),
    _qkv(keys - skipped * 45, keys, batch=1),
  )


def test_segments_one_by_one_are_the_same():
  """What cuDNN is given, by XLA's own attention."""
  split = lambda x: x.reshape(x.shape[0], -1, 5, HEADS, FEATURES)  # noqa: E731
  q, k, v = map(split, _qkv(30, 45))
  np.testing.assert_allclose(
    attention._rectangles('xla', 3, q, k, v),
    attention.attend_film(q, k, v, 3, 'xla'),
    atol=1e-5,
  )


def test_large_scores_of_a_film_are_finite():
  q, k, v = (40 * x for x in _qkv(270, 270, batch=1))
  value, grads = jax.jit(
    jax.value_and_grad(lambda *args: _film(*args, 'xla').sum(), (0, 1, 2))
  )(q, k, v)
  assert all(np.isfinite(x).all() for x in (value, *grads))


def test_the_mask_of_a_film_by_blocks_is_the_mask():
  mask = splash.FilmMask(3, 45, skipped=0, shape=(384, 384))
  expected = _film_mask(3, 45)
  for i in range(0, 256, 64):
    for j in range(0, 256, 64):
      block = mask[i : i + 64, j : j + 64]
      want = expected[i : i + 64, j : j + 64]
      assert block.any() == want.any() and block.all() == want.all()
  np.testing.assert_array_equal(
    mask.mask_function(np.arange(270)[:, None], np.arange(270)[None]), expected
  )
  assert mask == splash.FilmMask(3, 45, 0, (384, 384))
  assert mask != splash.FilmMask(3, 44, 0, (384, 384))


@pytest.mark.parametrize(
  'name', [pytest.param('xla', marks=pytest.mark.slow), 'cudnn']
)
def test_half_precision_is_near_float32(name):
  """Runs in another process, because this one may not use a GPU."""
  if name == 'cudnn' and not any(map(importlib.util.find_spec, PLUGINS)):
    pytest.skip('JAX for NVIDIA is not installed')
  env = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': ''}
  done = subprocess.run(
    [sys.executable, 'tests/models/attention_forms.py', name],
    cwd=ROOT,
    env=env,
    capture_output=True,
    text=True,
  )
  if done.returncode == 77:
    pytest.skip('JAX finds no GPU')
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
  ('length', 'expected'),
  [(1, (128, 128)), (1560, (896, 1792)), (4680, (1024, 5120))],
)
def test_blocks_are_large_and_padding_small(length, expected):
  assert splash._padded(length) == expected


@pytest.mark.slow
def test_a_mesh_does_not_change_the_result():
  mesh = make_mesh(MeshConfig(data=1, fsdp=2, sequence=2, tensor=2))
  q, k, v = _qkv(24, 24, batch=4)
  length_B = jnp.array([24, 5, 24, 13])
  forms = (
    lambda *args: attention.attend(*args, length_B, 'xla'),
    lambda *args: attention.attend(*args, None, 'xla', by_query=True),
    lambda *args: _film(*args, 'xla'),
  )

  weight = jax.random.normal(jax.random.key(9), q.shape)

  def grads(args):
    total = lambda args, f: jnp.sum(f(*args) * weight)  # noqa: E731
    return [jax.grad(total)(args, form) for form in forms]

  one = jax.jit(grads)((q, k, v))
  with jax.set_mesh(mesh):
    many = jax.jit(grads)((q, k, v))
  for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
    assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b)


@pytest.mark.parametrize(
  ('platform', 'dtype', 'length', 'features', 'chosen'),
  [
    ('cpu', jnp.bfloat16, 24, 128, 'xla'),
    ('gpu', jnp.bfloat16, 24, 64, 'cudnn'),
    ('gpu', jnp.float32, 24, 64, 'xla'),
    ('gpu', jnp.bfloat16, 25, 64, 'xla'),
    ('tpu', jnp.bfloat16, 25, 128, 'splash'),
    ('tpu', jnp.float32, 25, 32, 'xla'),
  ],
)
def test_auto(platform, dtype, length, features, chosen, monkeypatch, caplog):
  monkeypatch.setattr(attention, 'platform', lambda: platform)
  monkeypatch.setattr(attention, '_announced', [])
  logging.set_verbosity(logging.INFO)
  choose = functools.partial(
    attention.choose, 'auto', jnp.dtype(dtype), (1, length, 2, features)
  )
  level = 'INFO' if platform == 'cpu' else 'WARNING'  # that all see
  with caplog.at_level(level, logger='absl'):
    assert choose((1, 24, 2, features)) == choose((1, 24, 2, features))
  assert choose((1, 24, 2, features)) == chosen
  assert caplog.text.count('attention: ') == 1
  assert attention.announced() == (f'{chosen} on {platform}',)


def test_the_platform_is_that_of_the_mesh_in_use():
  assert attention.platform() == 'cpu'
  with jax.set_mesh(make_mesh(MeshConfig(1, -1, 1, 1))):
    assert attention.platform() == 'cpu'
