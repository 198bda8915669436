"""Chooses the codec that a config names."""

from cinejax.core.errors import UserError
from cinejax.models.codec.base import Codec
from cinejax.models.codec.patch import PatchCodec
from cinejax.models.codec.taef2 import Taef2
from cinejax.models.codec.taehv import Taehv
from cinejax.models.codec.wan_vae import WanVae
from cinejax.models.config import CodecConfig

NAMES = ('patch', 'taef2', 'wan_vae', 'wan22_vae', 'taehv')


def make_codec(cfg: CodecConfig) -> Codec:
  """The codec that `cfg.name` names.

  Raises UserError if there is none, or if the config's sizes are not its own.
  """
  match cfg.name:
    case 'patch':
      return PatchCodec(cfg)
    case 'taef2':
      codec = Taef2()
    case 'wan_vae' | 'wan22_vae':
      codec = WanVae(cfg)
    case 'taehv':
      codec = Taehv(cfg)
    case _:
      raise UserError(
        f'config.codec.name is {cfg.name}; it must be one of {", ".join(NAMES)}'
      )
  for name in ('temporal_stride', 'spatial_stride', 'channels'):
    if getattr(cfg, name) != getattr(codec, name):
      raise UserError(
        f'config.codec.{name} is {getattr(cfg, name)}; {cfg.name} needs '
        f'{getattr(codec, name)}'
      )
  return codec
