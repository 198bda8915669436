import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.interop.tensors import save_tree
from cinejax.interop.weights import load_codec, load_params
from cinejax.models.codec.select import make_codec
from configs import tiny


def make_params():
  return {
    'head': {'kernel': np.arange(6, dtype=np.float32).reshape(2, 3)},
    'bias': np.ones(3, np.float32),
  }


def test_params_come_back_in_the_types_asked_for(tmp_path):
  path = tmp_path / 'x.safetensors'
  save_tree(path, make_params(), {}, dtype=jnp.bfloat16)
  loaded = load_params(path, make_params())
  jax.tree.map(np.testing.assert_array_equal, loaded, make_params())
  assert loaded['bias'].dtype == np.float32


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    ({'bias': np.ones(4)}, r'misshapen: bias is \(4,\), not \(3,\)'),
    ({'more': np.ones(4)}, 'extra: more'),
    ({'head': {}}, r'x\.safetensors: .*missing: head/kernel'),
    (
      {f'more_{i}': np.ones(1) for i in range(9)},
      'extra: more_0, more_1, more_2, more_3, and 5 more$',
    ),
  ],
)
def test_another_network_is_a_sentence(tmp_path, change, sentence):
  path = tmp_path / 'x.safetensors'
  save_tree(path, make_params() | change, {})
  with pytest.raises(UserError, match=sentence):
    load_params(path, make_params())


def test_what_begins_at_zero_may_be_lacking(tmp_path):
  path, more = tmp_path / 'x.safetensors', {'more': np.ones((2, 2))}
  save_tree(path, make_params(), {})
  loaded = load_params(path, make_params() | more, may_lack=['more', 'less'])
  np.testing.assert_array_equal(loaded.pop('more'), np.zeros((2, 2)))
  jax.tree.map(np.testing.assert_array_equal, loaded, make_params())
  save_tree(path, make_params() | more, {})
  loaded = load_params(path, make_params() | more, may_lack=['more'])
  np.testing.assert_array_equal(loaded['more'], more['more'])


def test_a_codec_finds_its_own(tmp_path):
  cfg = resolve(tiny.get_config()).codec
  codec = make_codec(cfg)
  shapes = jax.eval_shape(codec.init, jax.random.key(0))
  path = tmp_path / 'codec.safetensors'
  ones = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
  save_tree(path, ones, {})
  again, params = load_codec(cfg, path)
  assert again == codec
  jax.tree.map(np.testing.assert_array_equal, params, ones)
