"""UMT5 against PyTorch's: hidden states, distances, tokens, prompts."""

import dataclasses

import jax
import numpy as np
import pytest

from cinejax.core import tree
from cinejax.core.errors import UserError
from cinejax.interop import texts
from cinejax.interop.archive import open_archive
from cinejax.models.text import umt5

TOLERANCE = 1e-5  # of PyTorch's, in float32; measured 4e-6


@pytest.fixture(scope='module')
def archive(fixtures):
  return open_archive(fixtures / 'fixture_umt5.safetensors')


@pytest.fixture(scope='module')
def weights(archive):
  tensors = {
    name.removeprefix('w.'): x
    for name, x in archive.tensors.items()
    if name.startswith('w.')
  }
  return dataclasses.replace(archive, tensors=tensors)


@pytest.fixture(scope='module')
def error(archive, weights):
  """params -> the largest distance from PyTorch's hidden states."""
  sizes, _ = texts.read_umt5(weights)
  apply = jax.jit(umt5.Encoder(sizes).apply)
  ids, mask, want = (
    archive.tensors[name][:] for name in ('ids', 'mask', 'hidden')
  )

  def far(params):
    hidden = apply({'params': params}, ids.astype(np.int32), mask)
    return np.abs(np.asarray(hidden) - want)[mask == 1].max()

  return far


def test_it_is_pytorch_s_and_no_weight_may_be_another(weights, error):
  sizes, params = texts.read_umt5(weights)
  assert sizes == umt5.Sizes(128, 2, 4, 8, 32, 64, 32)
  assert error(params) < TOLERANCE
  flat = tree.paths(jax.device_get(params))  # all of one kind: one program
  ids = open_archive(weights.path).tensors['ids'][:]
  for name in flat:
    weight = np.copy(flat[name])
    # a number that matters: of the first word, of a short distance
    place = (ids[0, 0], 0) if name == 'embedding' else (0,) * weight.ndim
    weight[place] += 0.1
    other = tree.nested(flat | {name: weight})
    assert error(other) > TOLERANCE, name


def test_wan_s_names_are_read(weights):
  _, params = texts.read_umt5(weights)
  theirs = {
    rule.transformers.format(layer): rule.wan.format(layer)
    for rule in texts.RULES
    for layer in range(2)
  }
  wan = {
    theirs[name]: x for name, x in weights.tensors.items() if name in theirs
  }
  # names of the original (wan/modules/t5.py)
  assert wan['token_embedding.weight'].shape == (128, 32)
  assert wan['blocks.1.ffn.gate.0.weight'].shape == (64, 32)
  assert wan['blocks.0.pos_embedding.embedding.weight'].shape == (32, 4)
  _, again = texts.read_umt5(dataclasses.replace(weights, tensors=wan))
  jax.tree.map(np.testing.assert_array_equal, again, params)
  del wan['blocks.1.ffn.fc1.weight']
  with pytest.raises(UserError, match=r'missing: blocks\.1\.ffn\.fc1\.weight'):
    texts.read_umt5(dataclasses.replace(weights, tensors=wan))


def test_distances_share_buckets_from_8_on():
  bucket = umt5.buckets(200, 32)
  assert bucket.shape == (200, 200) and bucket.max() == 31
  # the key after the query, and before it
  assert (bucket[0, 1], bucket[1, 0], bucket[3, 3]) == (17, 1, 0)
  np.testing.assert_array_equal(bucket[8, :8], np.arange(8, 0, -1))
  assert bucket[0, 128] == bucket[0, 199] == 31 and bucket[0, 100] == 30 + 1
  assert (np.diff(bucket[:, 0]) >= 0).all()


def test_padding_is_not_seen(weights):
  sizes, params = texts.read_umt5(weights)
  apply = jax.jit(umt5.Encoder(sizes).apply)
  ids = np.arange(2, 14, dtype=np.int32)[None]
  mask = (np.arange(12) < 7).astype(np.int32)[None]
  other = np.where(mask == 1, ids, 99).astype(np.int32)
  one, two = (apply({'params': params}, x, mask) for x in (ids, other))
  np.testing.assert_allclose(one[:, :7], two[:, :7], atol=1e-6)
