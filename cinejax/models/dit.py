"""The causal diffusion transformer: L blocks over S segments of a film.

A segment is F latent frames, each with its own time, and a caption. Patches of
the frames become tokens, the blocks (block.py) let them exchange information,
and a head turns tokens into velocities. Time is embedded in float32. (Wan 2.1,
section 4.2; a caption per segment: CausalCine, section 3.)
"""

from collections.abc import Callable

import chex
import einops
import flax.linen as nn
import jax
import jax.numpy as jnp

from cinejax.core.errors import UserError
from cinejax.core.sharding import BATCH_AXES, constrain
from cinejax.models import camera, remat
from cinejax.models import captions as captions_lib
from cinejax.models.arrangement import of_layer
from cinejax.models.block import TOKENS, Block, KeysValues, dense, modulated
from cinejax.models.captions import Captions
from cinejax.models.config import POSE, DiTConfig


class DiT(nn.Module):
  """The velocity of S segments of latent frames."""

  cfg: DiTConfig
  mixer: Callable  # see mixing.py
  skip: int = 0  # segments, the first ones, that are read and have no output
  # Whether layers are unrolled instead of scanned over; `separated` ones are.
  unroll: bool = False

  @nn.compact
  def __call__(self, x_BSFYXC, t_BSF, text, shared, layers, rank):
    """Applies all layers.

    Args:
      x_BSFYXC: noised latents.
      t_BSF: their times, from 0 (clean) to 1 (noise).
      text: captions [B, N, W, D], or what was read of them (captions.py). S is
        a multiple of N, and segment u N + n reads caption n. With cfg.steered,
        the last F of the W rows are the actions and cameras of its frames.
      shared: the mixer's inputs that all layers share.
      layers: the mixer's inputs of each layer; leaves have a leading L, or it
        is a tuple, if layers are separated.
      rank: the mixer's carry before the first layer.

    Returns:
      (velocity [B, S - skip, F, Y, X, C] in float32, the mixer's carry after
      the last layer, its outputs with a leading L, or a tuple as `layers`).

    Raises:
      UserError: if cfg.positions does not fit the size of the frames.
    """
    cfg = self.cfg
    chex.assert_rank([x_BSFYXC, t_BSF], [6, 3])
    _, py, px = cfg.patch
    rows, columns = x_BSFYXC.shape[3] // py, x_BSFYXC.shape[4] // px
    x = einops.rearrange(
      x_BSFYXC.astype(cfg.compute_dtype),
      'b s f (y py) (x px) c -> b s f (y x) (py px c)',
      py=py,
      px=px,
    )
    x = dense(cfg, cfg.features, 'patch_embedding')(x).astype(jnp.float32)
    if isinstance(text, Captions):
      text, action_BNFD = text.layers, text.action_BNFD
    else:
      chex.assert_rank(text, 4)
      text, action_BNFD = captions_lib.split_actions(cfg, text, x.shape[2])
    if cfg.actions:
      x += self._embed_actions(action_BNFD, x.shape[1])
    if any(cfg.camera):
      x += self._embed_cameras(action_BNFD, x_BSFYXC.shape)
    if any(cfg.positions):
      x += self._positions(rows, columns)
    x = constrain(x, *TOKENS)
    embedded, modulation = self._embed_time(t_BSF)
    if not isinstance(text, (KeysValues, tuple)):  # an array, of numpy or jax
      text = captions_lib.embed_text(cfg, text)

    (x, rank), outputs = self._blocks(
      (x, rank), modulation, text, shared, layers
    )

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
    x = modulated(cfg, x, shift[..., None, :], scale[..., None, :])
    x = dense(
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
    return velocity, rank, outputs

  def _blocks(self, carry, modulation, text, shared, layers):
    """The L layers -> (carry, the mixer's outputs with a leading L).

    A scan compiles one layer. Unrolled layers take longer to compile and train
    faster on a CPU, because the residuals of a layer are not copied into an
    array of all layers, and the last layer leaves out what no output reads. A
    rollout is faster on a GPU, which copies no weights out of such an array.
    """
    cfg, block = self.cfg, Block
    if policy := remat.POLICIES.get(cfg.remat):
      block = nn.remat(Block, policy=policy, prevent_cse=False)
    params = self.variables['params'].get('blocks')  # None: initializing
    separate = isinstance(params, tuple)
    if params is None or not (self.unroll or separate):
      return nn.scan(
        block,
        variable_axes={'params': 0},
        split_rngs={'params': True},
        in_axes=(
          nn.broadcast,
          0 if isinstance(text, KeysValues) else nn.broadcast,
          nn.broadcast,
          0,
        ),
        length=cfg.layers,
      )(cfg, self.mixer, name='blocks')(carry, modulation, text, shared, layers)

    outputs = []
    for layer in range(cfg.layers):
      last = layer == cfg.layers - 1
      skip = self.skip if last and self.mixer.outputs_noisy_only else 0
      carry, output = block(cfg, self.mixer, skip, parent=None).apply(
        {'params': of_layer(params, layer)},
        carry,
        modulation,
        text if isinstance(text, jax.Array) else of_layer(text, layer),
        shared,
        of_layer(layers, layer),
      )
      outputs.append(output)
    if isinstance(layers, tuple):
      return carry, tuple(outputs)
    return carry, jax.tree.map(lambda *x: jnp.stack(x), *outputs)

  def _positions(self, rows, columns):
    """Learned positions of tokens in a frame, [1, 1, 1, rows columns, D]."""
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

    def dense_float32(features, name):
      return dense(
        cfg,
        features,
        name,
        dtype=jnp.float32,
        precision=jax.lax.Precision.HIGHEST,  # else TPUs multiply in bfloat16
        kernel_init=init,
      )

    x = dense_float32(cfg.features, 'time_in')(x)
    embedded = dense_float32(cfg.features, 'time_out')(nn.silu(x))
    x = dense_float32(6 * cfg.features, 'time_projection')(nn.silu(embedded))
    modulation = x.reshape(*x.shape[:-1], 6, cfg.features)
    # They are small, and every token reads them whole.
    return constrain(embedded, BATCH_AXES), constrain(modulation, BATCH_AXES)

  def _embed_actions(self, rows_BNFD, segments):
    """[B, S, F, 1, D], one for all tokens of a frame (text/actions.py)."""
    embed = dense(
      self.cfg,
      self.cfg.features,
      'action_embedding',
      use_bias=False,
      kernel_init=nn.initializers.zeros,  # so a trained model can add actions
    )
    # Scaled as token embeddings often are: an action is one entry among tokens
    # of D, and its few weights start at zero, so that they learn slowly.
    scale = self.cfg.features**0.5
    rows_BNFA = scale * rows_BNFD[..., : self.cfg.actions]
    x_BNFD = embed(rows_BNFA.astype(self.cfg.compute_dtype))
    copies = segments // x_BNFD.shape[1]
    return jnp.tile(x_BNFD, (1, copies, 1, 1)).astype(jnp.float32)[..., None, :]

  def _embed_cameras(self, rows_BNFD, shape):
    """[B, S, F, P, D]: of the rays of each token (models/camera.py)."""
    cfg = self.cfg
    _, segments, _, height, width, _ = shape
    _, py, px = cfg.patch
    pose = rows_BNFD[..., cfg.actions : cfg.actions + POSE]
    rays = einops.rearrange(
      camera.rays(pose, cfg.camera, height, width),
      'b n f (y py) (x px) c -> b n f (y x) (py px c)',
      py=py,
      px=px,
    )
    embed = dense(
      cfg,
      cfg.features,
      'camera_embedding',
      use_bias=False,
      kernel_init=nn.initializers.zeros,  # so a trained model can add cameras
    )
    x_BNFPD = embed(rays.astype(cfg.compute_dtype)).astype(jnp.float32)
    return jnp.tile(x_BNFPD, (1, segments // pose.shape[1], 1, 1, 1))
