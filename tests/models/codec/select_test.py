import pytest

from cinejax.core.errors import UserError
from cinejax.models.codec.select import NAMES, make_codec
from cinejax.models.config import CodecConfig


def _codec(name, *sizes):
  return make_codec(CodecConfig(name, *sizes, 32, 1, 0, 0, 'float32'))


@pytest.mark.parametrize(
  ('name', 'sizes'),
  [
    ('patch', (4, 8, 16)),
    ('taef2', (1, 8, 32)),
    ('wan_vae', (4, 8, 16)),
    ('wan22_vae', (4, 16, 48)),
    ('taehv', (4, 8, 16)),
  ],
)
def test_a_codec_says_its_strides(name, sizes):
  codec = _codec(name, *sizes)
  found = codec.temporal_stride, codec.spatial_stride, codec.channels
  assert found == sizes and name in NAMES


def test_mistakes_are_named():
  with pytest.raises(
    UserError, match='patch, taef2, wan_vae, wan22_vae, taehv'
  ):
    _codec('vae', 4, 8, 16)
  with pytest.raises(UserError, match='temporal_stride is 4; taef2 needs 1'):
    _codec('taef2', 4, 8, 32)
  with pytest.raises(UserError, match='channels is 32; taehv needs 16'):
    _codec('taehv', 4, 8, 32)
