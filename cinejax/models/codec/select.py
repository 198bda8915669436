"""Which codec a config asks for."""

from cinejax.core.errors import UserError
from cinejax.models.codec.base import Codec
from cinejax.models.codec.patch import PatchCodec
from cinejax.models.codec.taef2 import Taef2
from cinejax.models.config import CodecConfig


def make_codec(cfg: CodecConfig) -> Codec:
  """The codec named by `cfg.name`; raises UserError if its sizes clash."""
  if cfg.name == 'patch':
    return PatchCodec(cfg)
  if cfg.name != 'taef2':
    raise UserError(
      f'config.codec.name is {cfg.name}; it must be one of patch, taef2'
    )
  codec = Taef2()
  for name in ('temporal_stride', 'spatial_stride', 'channels'):
    if getattr(cfg, name) != getattr(codec, name):
      raise UserError(
        f'config.codec.{name} is {getattr(cfg, name)}; taef2 needs '
        f'{getattr(codec, name)}'
      )
  return codec
