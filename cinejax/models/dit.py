"""The causal diffusion transformer: Wan 2.1's block over S segments.

  x += gate_1 attention(norm(x) (1 + scale_1) + shift_1)
  x += cross_attention(affine_norm(x), text of the segment)
  x += gate_2 mlp(norm(x) (1 + scale_2) + shift_2)

with the six modulation vectors = a table of the layer + a projection of the
embedding of t, one per frame; queries and keys pass an RMS norm over the full
width D before the heads are split. Norms, modulation and time are float32.
Each segment is F latent frames with their own times and its own caption, and
the mixer (mixing.py) says which segments see which. (Wan 2.1, section 4.2;
caption per segment: CausalCine, section 3.)

On a mesh the axis `sequence` splits the P tokens of every frame, whatever the
segments, and heads within attention; `tensor` splits heads and mlp features.
"""

from collections.abc import Callable
from typing import Any

import chex
import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from cinejax.core.errors import UserError
from cinejax.core.sharding import BATCH_AXES, HEAD_AXES, constrain
from cinejax.models import lora, splash
from cinejax.models.attention import attend
from cinejax.models.config import DiTConfig

_REMAT = {
  'full': jax.checkpoint_policies.nothing_saveable,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'attention': jax.checkpoint_policies.save_only_these_names(splash.RESIDUALS),
}
_TOKENS = (BATCH_AXES, None, None, 'sequence')  # of [B, S, F, P, ...]
_HEADS = (BATCH_AXES, None, None, None, HEAD_AXES)  # of [B, S, F, P, H, K]


class _Dense(nn.Dense):
  """A dense layer that finds an adapter beside its kernel, if there is one."""

  def __call__(self, x):
    y = super().__call__(x)
    if not self.has_variable('params', lora.DOWN):
      return y
    down, up = (
      self.get_variable('params', name).astype(self.dtype)
      for name in (lora.DOWN, lora.UP)
    )
    return y + (x.astype(self.dtype) @ down) @ up


def _dense(cfg: DiTConfig, features: int, name: str, **kwargs: Any):
  kwargs.setdefault('kernel_init', nn.initializers.xavier_uniform())
  kwargs.setdefault('dtype', jnp.dtype(cfg.compute_dtype))
  return _Dense(features, name=name, **kwargs)


@jax.checkpoint
def _gelu(x):
  """GELU by tanh; its gradient computes it again, which is cheaper than memory.

  Differentiated as it stands it would keep several arrays of [..., G].
  """
  return nn.gelu(x, approximate=True)


def _plain_norm(cfg: DiTConfig):
  """Layer norm without parameters, float32."""
  return nn.LayerNorm(
    epsilon=cfg.epsilon, use_scale=False, use_bias=False, dtype=jnp.float32
  )


def _modulated(cfg: DiTConfig, x, shift, scale):
  y = _plain_norm(cfg)(x) * (1 + scale) + shift
  return y.astype(cfg.compute_dtype)


class Attention(nn.Module):
  """Projections and qk-norm; `mix` does the attention itself."""

  cfg: DiTConfig

  @nn.compact
  def __call__(self, x, context, mix: Callable):
    """Values that queries of `x` read from `context`, and what `mix` adds."""
    cfg = self.cfg

    def heads(y):
      return y.reshape(*y.shape[:-1], cfg.heads, cfg.head_features)

    def normed(y, name):
      norm = nn.RMSNorm(epsilon=cfg.epsilon, dtype=jnp.float32, name=name)
      return norm(y).astype(cfg.compute_dtype)

    q = normed(_dense(cfg, cfg.features, 'query')(x), 'query_norm')
    k = normed(_dense(cfg, cfg.features, 'key')(context), 'key_norm')
    v = _dense(cfg, cfg.features, 'value')(context)
    out, *rest = mix(heads(q), heads(k), heads(v))
    out = checkpoint_name(out, splash.RESIDUALS)
    out = out.reshape(*out.shape[:-2], cfg.features)
    return (_dense(cfg, cfg.features, 'out')(out), *rest)


class Block(nn.Module):
  """One of the L layers.

  The first `skip` segments are read by the others and have no output, as in a
  last layer whose clean half nothing reads any more.
  """

  cfg: DiTConfig
  mixer: Callable
  skip: int = 0

  @nn.compact
  def __call__(self, carry, modulation_BSF6D, text_BNWD, shared, layer):
    cfg = self.cfg
    x_BSFPD, rank = carry
    frames = x_BSFPD.shape[2]
    table = self.param(
      'modulation',
      nn.initializers.normal(cfg.features**-0.5),
      (6, cfg.features),
    )
    modulation = table[None, None, None] + modulation_BSF6D
    # six of [B, S, F, 1, D]: one for all tokens of a frame
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.moveaxis(
      modulation[..., None, :], 3, 0
    )
    y = _modulated(cfg, x_BSFPD, shift_1, scale_1)

    def mix(*heads):
      # Tokens are exchanged for heads while they are still apart from frames,
      # and after they are projected: XLA would rather gather all of x.
      heads = (constrain(x, *_TOKENS, 'tensor') for x in heads)
      heads = (constrain(x, *_HEADS) for x in heads)
      q, k, v = (
        einops.rearrange(x, 'b s f p h k -> b s (f p) h k') for x in heads
      )
      out, *rest = self.mixer(q, k, v, shared, layer, rank)
      out = einops.rearrange(out, 'b s (f p) h k -> b s f p h k', f=frames)
      return constrain(out, *_TOKENS, 'tensor'), *rest

    y, rank, kept = Attention(cfg, name='self_attention')(
      y[:, self.skip :], y, mix
    )
    x_BSFPD, gate_1, shift_2, scale_2, gate_2 = (
      x[:, self.skip :] for x in (x_BSFPD, gate_1, shift_2, scale_2, gate_2)
    )
    x_BSFPD += y * gate_1

    y = nn.LayerNorm(epsilon=cfg.epsilon, dtype=jnp.float32, name='cross_norm')(
      x_BSFPD
    )
    x_BSFPD += self._read_text(y.astype(cfg.compute_dtype), text_BNWD)

    y = _modulated(cfg, x_BSFPD, shift_2, scale_2)
    y = _gelu(_dense(cfg, cfg.mlp_features, 'mlp_in')(y))
    x_BSFPD += _dense(cfg, cfg.features, 'mlp_out')(y) * gate_2
    return (constrain(x_BSFPD, *_TOKENS), rank), kept

  def _read_text(self, x_BSFPD, text_BNWD):
    """Cross-attention; segments that share captions share their keys.

    Captions are not masked: Wan pads with zeros and attends to the padding.
    """
    batch, segments, frames = x_BSFPD.shape[:3]
    chunks = text_BNWD.shape[1]
    # tokens first, so that they stay split as they are
    q = einops.rearrange(x_BSFPD, 'b (u n) f p d -> (b n) (p u f) d', n=chunks)
    text = einops.rearrange(text_BNWD, 'b n w d -> (b n) w d')

    def mix(q, k, v):
      return (attend(q, k, v, None, self.cfg.attention, by_query=True),)

    (y,) = Attention(self.cfg, name='cross_attention')(q, text, mix)
    return einops.rearrange(
      y,
      '(b n) (p u f) d -> b (u n) f p d',
      b=batch,
      u=segments // chunks,
      f=frames,
    )


class DiT(nn.Module):
  """x_BSFYXC at t_BSF with captions text_BNWD -> velocity, rank carry, kept.

  S is a multiple of N: segment u N + n reads caption n, whose last F rows are
  actions of its frames where cfg.actions says so. The first `skip`
  segments have no output. `shared`, `layers` and `rank` belong to the mixer;
  the leaves of `layers` have a leading L.
  """

  cfg: DiTConfig
  mixer: Callable
  skip: int = 0
  unroll: bool = False  # the layers, instead of a scan over them

  @nn.compact
  def __call__(self, x_BSFYXC, t_BSF, text_BNWD, shared, layers, rank):
    cfg = self.cfg
    chex.assert_rank([x_BSFYXC, t_BSF, text_BNWD], [6, 3, 4])
    _, py, px = cfg.patch
    rows, columns = x_BSFYXC.shape[3] // py, x_BSFYXC.shape[4] // px
    x = einops.rearrange(
      x_BSFYXC.astype(cfg.compute_dtype),
      'b s f (y py) (x px) c -> b s f (y x) (py px c)',
      py=py,
      px=px,
    )
    x = _dense(cfg, cfg.features, 'patch_embedding')(x).astype(jnp.float32)
    if cfg.actions:
      words = text_BNWD.shape[2] - x.shape[2]
      text_BNWD, rows_BNFD = jnp.split(text_BNWD, [words], 2)
      x += self._embed_actions(rows_BNFD, x.shape[1])
    if any(cfg.positions):
      x += self._positions(rows, columns)
    x = constrain(x, *_TOKENS)
    embedded, modulation = self._embed_time(t_BSF)
    text = self._embed_text(text_BNWD)

    (x, rank), kept = self._blocks((x, rank), modulation, text, shared, layers)

    embedded = embedded[:, self.skip :]
    x = x[:, x.shape[1] - embedded.shape[1] :]
    table = self.param(
      'head_modulation',
      nn.initializers.normal(cfg.features**-0.5),
      (2, cfg.features),
    )
    shift, scale = jnp.moveaxis(
      table[None, None, None] + embedded[..., None, :], 3, 0
    )
    x = _modulated(cfg, x, shift[..., None, :], scale[..., None, :])
    x = _dense(
      cfg, py * px * cfg.channels, 'head', kernel_init=nn.initializers.zeros
    )(x)
    velocity = einops.rearrange(
      x.astype(jnp.float32),
      'b s f (y x) (py px c) -> b s f (y py) (x px) c',
      y=rows,
      x=columns,
      py=py,
      px=px,
    )
    return velocity, rank, kept

  def _blocks(self, carry, modulation, text, shared, layers):
    """The L layers -> (carry, layer outputs with a leading L).

    A scan compiles one layer. Unrolled layers take longer to compile, and run
    faster on a CPU: what the gradient keeps of each is not copied into arrays
    of all, and the last layer leaves out what no output reads.
    """
    cfg, block = self.cfg, Block
    if cfg.remat != 'none':
      block = nn.remat(Block, policy=_REMAT[cfg.remat], prevent_cse=False)
    arguments = modulation, text, shared
    if not self.unroll or self.is_initializing():
      return nn.scan(
        block,
        variable_axes={'params': 0},
        split_rngs={'params': True},
        in_axes=(nn.broadcast, nn.broadcast, nn.broadcast, 0),
        length=cfg.layers,
      )(cfg, self.mixer, name='blocks')(carry, *arguments, layers)
    params, outputs = self.variables['params']['blocks'], []
    for layer in range(cfg.layers):
      params_of, layer_of = (
        jax.tree.map(lambda x, layer=layer: x[layer], tree)
        for tree in (params, layers)
      )
      last = layer == cfg.layers - 1
      skip = self.skip if last and self.mixer.outputs_noisy_only else 0
      carry, output = block(cfg, self.mixer, skip, parent=None).apply(
        {'params': params_of}, carry, *arguments, layer_of
      )
      outputs.append(output)
    return carry, jax.tree.map(lambda *x: jnp.stack(x), *outputs)

  def _positions(self, rows, columns):
    """[1, 1, 1, rows columns, D]: where in the picture a token is."""
    cfg = self.cfg
    if tuple(cfg.positions) != (rows, columns):
      raise UserError(
        f'config.dit.positions is {tuple(cfg.positions)}, but a frame has '
        f'{rows} rows and {columns} columns of tokens; set it to them, or to '
        '(0, 0)'
      )
    shape = (1, 1, 1, rows * columns, cfg.features)
    return self.param('positions', nn.initializers.normal(0.02), shape)

  def _embed_time(self, t_BSF):
    """Embedding [B, S, F, D] and modulation [B, S, F, 6, D], float32."""
    cfg = self.cfg
    half = cfg.time_features // 2
    frequency = 10_000 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    # Wan counts time from 0 to 1000.
    angle = (
      1000
      * t_BSF.astype(jnp.float32)[..., None]
      * frequency.reshape(1, 1, 1, half)
    )
    x = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], -1)
    init = nn.initializers.normal(0.02)

    def dense(features, name):
      return _dense(
        cfg,
        features,
        name,
        dtype=jnp.float32,
        precision=jax.lax.Precision.HIGHEST,  # else TPUs multiply in bfloat16
        kernel_init=init,
      )

    x = dense(cfg.features, 'time_in')(x)
    embedded = dense(cfg.features, 'time_out')(nn.silu(x))
    x = dense(6 * cfg.features, 'time_projection')(nn.silu(embedded))
    modulation = x.reshape(*x.shape[:-1], 6, cfg.features)
    # small, and read whole by every token
    return constrain(embedded, BATCH_AXES), constrain(modulation, BATCH_AXES)

  def _embed_actions(self, rows_BNFD, segments):
    """[B, S, F, 1, D]: one for all tokens of a frame (text/actions.py)."""
    embed = _dense(
      self.cfg,
      self.cfg.features,
      'action_embedding',
      use_bias=False,
      kernel_init=nn.initializers.zeros,  # a model may learn them later
    )
    rows_BNFA = rows_BNFD[..., : self.cfg.actions]
    x_BNFD = embed(rows_BNFA.astype(self.cfg.compute_dtype))
    uses = segments // x_BNFD.shape[1]
    return jnp.tile(x_BNFD, (1, uses, 1, 1)).astype(jnp.float32)[..., None, :]

  def _embed_text(self, text_BNWD):
    cfg = self.cfg
    init = nn.initializers.normal(0.02)
    x = _dense(cfg, cfg.features, 'text_in', kernel_init=init)(
      text_BNWD.astype(cfg.compute_dtype)
    )
    x = nn.gelu(x, approximate=True)
    return _dense(cfg, cfg.features, 'text_out', kernel_init=init)(x)
