import pytest

from cinejax.core.errors import UserError
from cinejax.models.codec.select import make_codec
from cinejax.models.config import CodecConfig


def test_a_codec_says_its_strides():
  patch = make_codec(CodecConfig('patch', 4, 8, 16, 32, 1))
  assert (patch.temporal_stride, patch.spatial_stride, patch.channels) == (
    (4, 8, 16)
  )
  taef2 = make_codec(CodecConfig('taef2', 1, 8, 32, 0, 0))
  assert (taef2.temporal_stride, taef2.spatial_stride, taef2.channels) == (
    (1, 8, 32)
  )


def test_mistakes_are_named():
  with pytest.raises(UserError, match='patch, taef2'):
    make_codec(CodecConfig('vae', 4, 8, 16, 32, 1))
  with pytest.raises(UserError, match='temporal_stride is 4; taef2 needs 1'):
    make_codec(CodecConfig('taef2', 4, 8, 32, 0, 0))
