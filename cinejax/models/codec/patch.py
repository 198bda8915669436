"""A small causal video codec that trains on a CPU in minutes.

Frames are cut into blocks of r frames and 8x8 pixels; a film's first frame
stands still for the r frames of its own. The encoder is a block's C principal
components, measured once and never trained (eqs. 1 and 2): near in latents is
near in pixels, what a diffusion model gets slightly wrong looks slightly
wrong, and a better decoder asks for no new data and no new model. Channels are
scaled so that those with more variance stay louder, by its fourth root.

    raw_f   = V' (block_f - mean),   V = the first C eigenvectors            (1)
    z_c     = raw_c / std_c,         std_c^2 proportional to deviation_c     (2)

The decoder adds to the linear inverse what the surroundings tell, through
residual blocks at latent resolution, cheap ones: a bottleneck of width / 2
whose first quarter, k channels, is read one latent frame late (eq. 3; the
shift of Lin et al., TSM, arXiv 1811.08383, made causal), then a 3x3
convolution (eq. 4).

    h_f     = down(norm(x_f)),   h_f <- [h_(f-1)[:k], h_f[k:]],   h_(-1) = 0
                                                                            (3)
    x_f    += up(silu(conv(silu(h_f))))                                     (4)
    block_f = linear(raw_f) + patch(silu(frames(x_f)))                      (5)

A decoder's state is h_(f-1)[:k] of each block: what eq. (3) needs of the past,
so decoding in chunks is decoding at once.
"""

import dataclasses
from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cinejax.models.codec import base
from cinejax.models.config import CodecConfig


class Block(nn.Module):
  """Eqs. (3) and (4)."""

  width: int

  @nn.compact
  def __call__(
    self, x_BFYXD: jax.Array, late_BYXK: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    batch, late = x_BFYXD.shape[0], late_BYXK.shape[-1]
    h_BFYXD = nn.Dense(self.width // 2, name='down')(
      nn.RMSNorm(name='norm')(x_BFYXD)
    )
    # K channels from latent frame -1 (the state) to the last
    late_BFYXK = jnp.concatenate(
      [late_BYXK[:, None], h_BFYXD[..., :late]], axis=1
    )
    h_BFYXD = jnp.concatenate(
      [late_BFYXK[:, :-1], h_BFYXD[..., late:]], axis=-1
    )
    # a plain 2-D convolution is the one that every backend does fast
    h_NYXD = einops.rearrange(h_BFYXD, 'B F Y X D -> (B F) Y X D')
    h_NYXD = nn.Conv(self.width // 2, (3, 3), name='conv')(nn.silu(h_NYXD))
    h_NYXD = nn.Dense(self.width, name='up')(nn.silu(h_NYXD))
    h_BFYXD = einops.rearrange(h_NYXD, '(B F) Y X D -> B F Y X D', B=batch)
    return x_BFYXD + h_BFYXD, late_BFYXK[:, -1]


class Decoder(nn.Module):
  """Raw latents and state -> blocks [B, F, Y, X, r s s 3] and state."""

  cfg: CodecConfig

  @nn.compact
  def __call__(
    self, raw_BFYXC: jax.Array, state: tuple[jax.Array, ...]
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    cfg = self.cfg
    x_BFYXD = nn.Dense(cfg.width, name='in')(raw_BFYXC)
    new_state = []
    for i, late_BYXK in enumerate(state):
      x_BFYXD, late_BYXK = Block(cfg.width, name=f'block_{i}')(
        x_BFYXD, late_BYXK
      )
      new_state.append(late_BYXK)
    frames = (*x_BFYXD.shape[:-1], cfg.temporal_stride, cfg.width)
    h_BFYXRD = nn.Dense(frames[-2] * frames[-1], name='frames')(x_BFYXD)
    seen = nn.Dense(
      3 * cfg.spatial_stride**2,
      name='patch',
      kernel_init=nn.initializers.zeros,
    )(nn.silu(h_BFYXRD.reshape(frames)))
    linear = nn.Dense(_block_size(cfg), name='linear')(raw_BFYXC)
    return linear + seen.reshape(linear.shape), tuple(new_state)


class Components(NamedTuple):
  """Of blocks of G numbers: what eq. (1) needs, largest variance first."""

  mean_G: jax.Array
  components_GC: jax.Array  # orthonormal columns
  variance_C: jax.Array


@dataclasses.dataclass(frozen=True)
class PatchCodec:
  """The codec of this module; see `base.Codec`."""

  cfg: CodecConfig

  @property
  def temporal_stride(self) -> int:
    return self.cfg.temporal_stride

  @property
  def spatial_stride(self) -> int:
    return self.cfg.spatial_stride

  @property
  def channels(self) -> int:
    return self.cfg.channels

  def init(self, key: jax.Array) -> dict[str, Any]:
    """Random parameters; `fit` replaces those that are measured."""
    cfg = self.cfg
    encoder_key, decoder_key = jax.random.split(key)
    raw_BFYXC = jnp.zeros((1, 1, 1, 1, cfg.channels))
    state = self.init_decode({}, (1, 1, 1, cfg.channels))
    shape_GC = (_block_size(cfg), cfg.channels)
    return {
      'encoder': {
        'components_GC': nn.initializers.orthogonal()(encoder_key, shape_GC),
        'mean_G': jnp.zeros(shape_GC[0]),
      },
      'decoder': Decoder(cfg).init(decoder_key, raw_BFYXC, state)['params'],
      'mean_C': jnp.zeros(cfg.channels),
      'std_C': jnp.ones(cfg.channels),
    }

  def measure(self, videos_NTYXC: np.ndarray) -> Components:
    """Eq. (1) of uint8 videos; at once, also where jit is tracing."""
    with jax.ensure_compile_time_eval():
      blocks_BFYXG = _blocks(self.cfg, base.from_bytes(videos_NTYXC))
      return _principal(blocks_BFYXG, self.channels)

  def fit(self, params: base.Params, measured: Components) -> base.Params:
    """`params` with the encoder of eqs. (1) and (2), and its inverse."""
    std_C = measured.variance_C**0.25
    unit = jnp.sqrt(jnp.mean(measured.variance_C / std_C**2))
    return {
      **params,
      'encoder': {
        'components_GC': measured.components_GC,
        'mean_G': measured.mean_G,
      },
      'decoder': {
        **params['decoder'],
        'linear': {
          'kernel': measured.components_GC.T,
          'bias': measured.mean_G,
        },
      },
      'std_C': std_C * unit,
    }

  def encode(self, params: base.Params, video_BTYXC: jax.Array) -> jax.Array:
    base.check_video(self, video_BTYXC)
    # measured, not learnt: an optimizer must leave them alone
    fitted = jax.lax.stop_gradient(params['encoder'])
    mean_BFYXG = fitted['mean_G'][None, None, None, None]
    centred = _blocks(self.cfg, video_BTYXC) - mean_BFYXG
    return base.normalise(params, centred @ fitted['components_GC'])

  def decode(self, params: base.Params, z_BFYXC: jax.Array) -> jax.Array:
    return base.decode_as_chunk(self, params, z_BFYXC)

  def init_decode(
    self, params: base.Params, z_shape_BYXC: tuple[int, int, int, int]
  ) -> tuple[jax.Array, ...]:
    """One float32 [B, Y, X, K] a block of the decoder."""
    del params
    shape_BYXK = (*z_shape_BYXC[:3], _late(self.cfg))
    return tuple(jnp.zeros(shape_BYXK) for _ in range(self.cfg.blocks))

  def decode_chunk(
    self,
    params: base.Params,
    z_BFYXC: jax.Array,
    state: tuple[jax.Array, ...],
    first: bool,
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    blocks_BFYXG, state = Decoder(self.cfg).apply(
      {'params': params['decoder']}, base.denormalise(params, z_BFYXC), state
    )
    return _frames(self.cfg, blocks_BFYXG, first), state


def _blocks(cfg: CodecConfig, video_BTYXC: jax.Array) -> jax.Array:
  """[B, F, Y, X, r s s 3], the first frame r times."""
  first_BTYXC = jnp.repeat(video_BTYXC[:, :1], cfg.temporal_stride - 1, 1)
  return einops.rearrange(
    jnp.concatenate([first_BTYXC, video_BTYXC], 1),
    'B (F r) (Y y) (X x) C -> B F Y X (r y x C)',
    r=cfg.temporal_stride,
    y=cfg.spatial_stride,
    x=cfg.spatial_stride,
  )


def _frames(
  cfg: CodecConfig, blocks_BFYXG: jax.Array, first: bool
) -> jax.Array:
  """The inverse of `_blocks`; of a film's `first`, the last frame alone."""
  video_BTYXC = einops.rearrange(
    blocks_BFYXG,
    'B F Y X (r y x C) -> B (F r) (Y y) (X x) C',
    r=cfg.temporal_stride,
    y=cfg.spatial_stride,
    x=cfg.spatial_stride,
  )
  return video_BTYXC[:, cfg.temporal_stride - 1 :] if first else video_BTYXC


def _principal(blocks_BFYXG: jax.Array, channels: int) -> Components:
  blocks_NG = blocks_BFYXG.reshape(-1, blocks_BFYXG.shape[-1])
  mean_G = blocks_NG.mean(0)
  centred_NG = blocks_NG - mean_G[None]
  variance_G, vectors_GG = jnp.linalg.eigh(
    centred_NG.T @ centred_NG / len(blocks_NG)
  )
  largest = slice(None, -channels - 1, -1)  # eigh counts upwards
  components_GC = vectors_GG[:, largest]
  # eigenvectors have no sign of their own: the largest number is positive
  top_C = jnp.argmax(jnp.abs(components_GC), 0)
  sign_C = jnp.sign(components_GC[top_C, jnp.arange(channels)])
  return Components(
    mean_G=mean_G,
    components_GC=components_GC * sign_C[None],
    variance_C=jnp.maximum(variance_G[largest], 1e-6),
  )


def _block_size(cfg: CodecConfig) -> int:
  """G, the numbers of a block."""
  return 3 * cfg.temporal_stride * cfg.spatial_stride**2


def _late(cfg: CodecConfig) -> int:
  """K, the channels of a block that eq. (3) reads one latent frame late."""
  return cfg.width // 8
