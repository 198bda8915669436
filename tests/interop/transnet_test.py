"""TransNet V2 against its authors' PyTorch version, with made-up weights.

GOLDEN is what github.com/soCzech/TransNetV2 (inference-pytorch, commit
05546d7) says of `video()` under `state_dict()`, on PyTorch 2.13.
"""

import zlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.interop.transnet import load_transnet
from cinejax.models.transnet import TransNet

GOLDEN = (
  *(1.47967, 1.43999, 1.65895, 1.59638, 2.92769, 3.13533),
  *(3.17367, 3.1885, 2.2597, 2.19602, 2.01076, 1.24441),
)


def shapes():
  """The shapes of all tensors in the authors' state dict."""
  found, features = {}, 3
  for stack, width in enumerate((16, 32, 64)):
    for cell in range(2):
      name = f'SDDCNN.{stack}.DDCNN.{cell}'
      for d in (1, 2, 4, 8):
        layers = f'{name}.Conv3D_{d}.layers'
        found[f'{layers}.0.weight'] = (2 * width, features, 1, 3, 3)
        found[f'{layers}.1.weight'] = (width, 2 * width, 3, 1, 1)
      features = 4 * width
      for leaf in ('weight', 'bias', 'running_mean', 'running_var'):
        found[f'{name}.bn.{leaf}'] = (features,)
      found[f'{name}.bn.num_batches_tracked'] = ()
  for name, rows, columns in (
    ('frame_sim_layer.projection', 128, 448),
    ('frame_sim_layer.fc', 128, 101),
    ('color_hist_layer.fc', 128, 101),
    ('fc1', 1024, 18 * 256 + 256),
    ('cls_layer1', 1, 1024),
    ('cls_layer2', 1, 1024),
  ):
    found |= {f'{name}.weight': (rows, columns), f'{name}.bias': (rows,)}
  return found


def state_dict():
  """Numbers that depend on the tensor's name alone."""
  weights = {}
  for name, shape in shapes().items():
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    x = rng.standard_normal(shape)
    if name.endswith('running_var'):
      x = 1 + x**2
    elif len(shape) > 1:
      x = x * np.sqrt(2 / np.prod(shape[1:]))
    else:
      x = 0.1 * x + name.endswith('bn.weight')
    weights[name] = np.asarray(x, np.float32)
  return weights


def video():
  """Twelve frames of noise in three shots."""
  rng = np.random.default_rng(5)
  shots = rng.integers(0, 256, (3, 27, 48, 3))
  noise = rng.integers(-9, 10, (12, 27, 48, 3))
  return (shots[np.arange(12) // 4] + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  path = tmp_path_factory.mktemp('transnet') / 'weights.safetensors'
  save_file(state_dict(), path)
  return path


def test_logits_are_those_of_the_authors_network(path):
  apply = jax.jit(lambda params, v: TransNet().apply({'params': params}, v))
  logit_BT = apply(load_transnet(path), video()[None])
  np.testing.assert_allclose(logit_BT[0], GOLDEN, atol=3e-5)


def test_pth_files_hold_the_same(tmp_path, path):
  torch = pytest.importorskip('torch', reason="the extra 'torch'")
  tensors = {k: torch.from_numpy(x) for k, x in state_dict().items()}
  torch.save(tensors, tmp_path / 'weights.pth')
  ours, theirs = load_transnet(path), load_transnet(tmp_path / 'weights.pth')
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def _without(*names):
  kept = {k: x for k, x in state_dict().items() if k not in names}
  return lambda path: save_file(kept, path)


@pytest.mark.parametrize(
  ('write', 'sentence'),
  [
    (lambda path: None, 'there is no weights file'),
    (lambda path: path.write_text('x'), 'is not a whole safetensors file'),
    (_without('fc1.weight'), 'is not TransNet V2: fc1/kernel of shape'),
    (_without('SDDCNN.0.DDCNN.1.bn.bias'), 'DDCNN.1.bn.bias is missing'),
  ],
)
def test_other_files_are_refused(tmp_path, write, sentence):
  path = tmp_path / 'odd.safetensors'
  write(path)
  with pytest.raises(UserError, match=sentence):
    load_transnet(path)
