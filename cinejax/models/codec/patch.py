"""A small causal video codec that trains on a CPU in minutes.

Frames are cut into blocks of r frames and 8x8 pixels; a film's first frame
stands still for the r frames of its own. The encoder `linear` is a block's C
principal components, measured once and never trained (eqs. 1 and 2): near in
latents is near in pixels, what a diffusion model gets slightly wrong looks
slightly wrong, and a better decoder asks for no new data and no new model.
Channels are scaled so that those with more variance stay louder, by its fourth
root.

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

The encoder `conv` adds to eqs. (1) and (2) a correction that is trained with
the decoder (eq. 7), by the same residual blocks but of one latent frame each
(k = 0): latents stay those of eq. (2), turned so that all channels vary alike
(eq. 6), plus what the decoder can make use of. No latent depends on another
frame's, so a still film has still latents, encoding in parts is encoding at
once, and a frame that a film remembers out of its order means the same.

    lin_f   = R' (V' (block_f - mean) / std),   R a rotation (`even`)        (6)
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
from cinejax.models.codec.components import Components, even, principal
from cinejax.models.config import CodecConfig

_GAIN = 0.1  # of eq. (7): latents move no faster than a decoder can follow


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
  """Centred blocks -> what eq. (7) adds, [B, F, Y, X, C]; zero at first."""

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
      # apart from the fitted part, which no optimizer may touch
      params['correction'] = Correction(cfg).init(
        jax.random.fold_in(encoder_key, 1), blocks_BFYXG
      )['params']
    return params

  def measure(self, videos_NTYXC: np.ndarray) -> Components:
    """Eq. (1) of uint8 videos; at once, also where jit is tracing."""
    with jax.ensure_compile_time_eval():
      blocks_BFYXG = blocks.cut(self.cfg, base.from_bytes(videos_NTYXC))
      return principal(blocks_BFYXG, self.channels)

  def fit(self, params: base.Params, measured: Components) -> base.Params:
    """`params` with the linear map of eqs. (1) and (2), and its inverse."""
    # numpy: numbers, also where jit is tracing
    into_GC = np.asarray(measured.components_GC)
    variance_C = np.asarray(measured.variance_C)
    std_C = variance_C**0.25
    std_C *= np.sqrt(np.mean(variance_C / std_C**2))
    out_CG = into_GC.T
    if self.cfg.encoder == 'conv':
      turn_CC = even(variance_C / std_C**2)
      into_GC = into_GC / std_C[None] @ turn_CC
      out_CG = turn_CC.T @ (out_CG * std_C[:, None])
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
    """`params` with mean_C and std_C as uint8 videos have them, eq. (8).

    What latents decode to stays the same. A linear encoder keeps eq. (2).
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
    return self.encode_parts(params, video_BTYXC)[0]

  def encode_parts(
    self, params: base.Params, video_BTYXC: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """`encode`, and what of it before eq. (1) of `base` is not linear."""
    base.check_video(self, video_BTYXC)
    # measured, not learnt: an optimizer must leave them alone
    fitted = jax.lax.stop_gradient(params['encoder'])
    mean_BFYXG = fitted['mean_G'][None, None, None, None]
    centred_BFYXG = blocks.cut(self.cfg, video_BTYXC) - mean_BFYXG
    raw_BFYXC = centred_BFYXG @ fitted['components_GC']
    correction_BFYXC = jnp.zeros_like(raw_BFYXC)
    if self.cfg.encoder == 'conv':
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
    return blocks.join(self.cfg, blocks_BFYXG, first), state


def _late(cfg: CodecConfig) -> int:
  """K, the channels of a block that eq. (3) reads one latent frame late."""
  return cfg.width // 8
