"""A small causal video codec that trains on a CPU in minutes.

Videos are split into blocks of r frames and 8x8 pixels; the first frame of a
film is repeated r times to fill its blocks. The encoder `linear` projects each
block onto its first C principal components, which are measured once and not
trained (eqs. 1 and 2). Distances between latents are thus close to distances
between pixels, a small error of a diffusion model is a small error in the
picture, and a better decoder needs neither new data nor a new model. The
standard deviation of a latent channel is the fourth root of its component's
variance, so that components with more variance keep more weight.

    raw_f   = V' (block_f - mean),   V = the first C eigenvectors            (1)
    z_c     = raw_c / std_c,         std_c^2 proportional to deviation_c     (2)

The decoder adds to the linear inverse a correction that it computes from the
neighbouring blocks, with cheap residual blocks at latent resolution: a
bottleneck of width / 2 whose first quarter, k channels, is delayed by one
latent frame (eq. 3; a causal form of the shift of Lin et al., TSM, arXiv
1811.08383), then a 3x3 convolution (eq. 4).

    h_f     = down(norm(x_f)),   h_f <- [h_(f-1)[:k], h_f[k:]],   h_(-1) = 0
                                                                            (3)
    x_f    += up(silu(conv(silu(h_f))))                                     (4)
    block_f = linear(raw_f) + patch(silu(frames(x_f)))                      (5)

The state of the decoder is h_(f-1)[:k] of each residual block, all that eq. (3)
needs of earlier frames, so that decoding in chunks equals decoding at once.

The encoder `conv` rotates the latents of eq. (2) so that all channels have the
same variance (eq. 6) and adds a correction that is trained together with the
decoder (eq. 7), computed by the same residual blocks without delay (k = 0). A
latent frame therefore depends on its own r pixel frames only: a still film has
constant latents, encoding in parts equals encoding at once, and a latent frame
that is read from memory has the same meaning wherever it was stored.

    lin_f   = R' (V' (block_f - mean) / std),   R a rotation                 (6)
    raw_f   = lin_f + .1 out(norm(x_f)),   x_f of eq. (4) from the block    (7)
    z       = (raw - mean_C) / std_C,   both measured after training         (8)
"""

import dataclasses
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cinejax.models.codec import base, blocks
from cinejax.models.codec.components import (
  Components,
  equal_variance_rotation,
  principal_components,
)
from cinejax.models.config import CodecConfig

_GAIN = 0.1  # of eq. (7): a decoder can follow latents that change slowly


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
    head = cfg.head_features or cfg.width
    frames = (*x_BFYXD.shape[:-1], cfg.temporal_stride, head)
    h_BFYXRD = nn.Dense(frames[-2] * frames[-1], name='frames')(x_BFYXD)
    seen = nn.Dense(
      3 * cfg.spatial_stride**2,
      name='patch',
      kernel_init=nn.initializers.zeros,
    )(nn.silu(h_BFYXRD.reshape(frames)))
    linear = nn.Dense(blocks.size(cfg), name='linear')(raw_BFYXC)
    return linear + seen.reshape(linear.shape), tuple(new_state)


class Correction(nn.Module):
  """The correction of eq. (7) before its gain, [B, F, Y, X, C]; 0 at first."""

  cfg: CodecConfig

  @nn.compact
  def __call__(self, blocks_BFYXG: jax.Array) -> jax.Array:
    cfg = self.cfg
    x_BFYXD = nn.Dense(cfg.width, name='in')(blocks_BFYXG)
    none_BYXK = jnp.zeros((*x_BFYXD[:, 0].shape[:-1], 0))
    for i in range(cfg.blocks):
      x_BFYXD, _ = Block(cfg.width, name=f'block_{i}')(x_BFYXD, none_BYXK)
    return nn.Dense(
      cfg.channels, name='out', kernel_init=nn.initializers.zeros
    )(nn.RMSNorm(name='norm')(x_BFYXD))


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
    shape_GC = (blocks.size(cfg), cfg.channels)
    params = {
      'encoder': {
        'components_GC': nn.initializers.orthogonal()(encoder_key, shape_GC),
        'mean_G': jnp.zeros(shape_GC[0]),
      },
      'decoder': Decoder(cfg).init(decoder_key, raw_BFYXC, state)['params'],
      'mean_C': jnp.zeros(cfg.channels),
      'std_C': jnp.ones(cfg.channels),
    }
    if cfg.encoder == 'conv':
      blocks_BFYXG = jnp.zeros((1, 1, 1, 1, shape_GC[0]))
      # a branch of its own, since no optimizer may change `encoder`
      params['correction'] = Correction(cfg).init(
        jax.random.fold_in(encoder_key, 1), blocks_BFYXG
      )['params']
    return params

  def measure(self, videos_NTYXC: np.ndarray) -> Components:
    """The statistics of eq. (1) over uint8 videos; concrete under jit too."""
    with jax.ensure_compile_time_eval():
      blocks_BFYXG = blocks.split(self.cfg, base.from_bytes(videos_NTYXC))
      return principal_components(blocks_BFYXG, self.channels)

  def fit(self, params: base.Params, measured: Components) -> base.Params:
    """`params` with the linear map of eqs. (1) and (2), and its inverse."""
    # numpy, so that the rotation is computed while jit is tracing
    into_GC = np.asarray(measured.components_GC)
    variance_C = np.asarray(measured.variance_C)
    std_C = variance_C**0.25
    std_C *= np.sqrt(np.mean(variance_C / std_C**2))
    out_CG = into_GC.T
    if self.cfg.encoder == 'conv':
      rotation_CC = equal_variance_rotation(variance_C / std_C**2)
      into_GC = into_GC / std_C[None] @ rotation_CC
      out_CG = rotation_CC.T @ (out_CG * std_C[:, None])
      std_C = np.ones_like(std_C)
    return {
      **params,
      'encoder': {
        'components_GC': jnp.asarray(into_GC),
        'mean_G': measured.mean_G,
      },
      'decoder': {
        **params['decoder'],
        'linear': {'kernel': jnp.asarray(out_CG), 'bias': measured.mean_G},
      },
      'std_C': jnp.asarray(std_C),
    }

  def standardise(
    self, params: base.Params, videos_NTYXC: np.ndarray
  ) -> base.Params:
    """Returns `params` with mean_C and std_C measured on uint8 videos, eq. (8).

    Videos decode as before, since encoder and decoder share both. A linear
    encoder keeps the scales of eq. (2): its `params` are returned unchanged.
    """
    if self.cfg.encoder == 'linear':
      return params
    plain = {
      **params,
      'mean_C': jnp.zeros(self.channels),
      'std_C': jnp.ones(self.channels),
    }
    raw_BFYXC = jax.lax.map(
      lambda video: self.encode(plain, base.from_bytes(video[None]))[0],
      jnp.asarray(videos_NTYXC),
    )
    return {
      **params,
      'mean_C': raw_BFYXC.mean((0, 1, 2, 3)),
      'std_C': raw_BFYXC.std((0, 1, 2, 3)),
    }

  def encode(self, params: base.Params, video_BTYXC: jax.Array) -> jax.Array:
    return self.encode_with_correction(params, video_BTYXC)[0]

  def encode_with_correction(
    self, params: base.Params, video_BTYXC: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns latents and the correction of eq. (7) that they contain.

    Both are [B, F, Y, X, C]; the correction is not normalised, and is 0 of a
    linear encoder.
    """
    base.check_video(self, video_BTYXC)
    # measured, not learnt: an optimizer must leave them alone
    fitted = jax.lax.stop_gradient(params['encoder'])
    mean_BFYXG = fitted['mean_G'][None, None, None, None]
    centred_BFYXG = blocks.split(self.cfg, video_BTYXC) - mean_BFYXG
    raw_BFYXC = centred_BFYXG @ fitted['components_GC']
    if self.cfg.encoder == 'linear':
      return base.normalise(params, raw_BFYXC), jnp.zeros_like(raw_BFYXC)
    correction_BFYXC = _GAIN * Correction(self.cfg).apply(
      {'params': params['correction']}, centred_BFYXG
    )
    z_BFYXC = base.normalise(params, raw_BFYXC + correction_BFYXC)
    return z_BFYXC, correction_BFYXC

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
    return blocks.merge(self.cfg, blocks_BFYXG, first), state


def _late(cfg: CodecConfig) -> int:
  """K, the channels of a block that eq. (3) reads one latent frame late."""
  return cfg.width // 8
