"""The DiT as pure functions of its parameters, one for each use.

film_fn           [clean 1..N | noisy 1..N]: training by teacher forcing
bidirectional_fn  a whole film at once, every frame sees every frame
values_fn         either pass, for what its layers compute on the way
denoise_fn        a chunk over a memory bank: one pass of a rollout
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.memory.config import MemoryConfig
from cinejax.models import mixing
from cinejax.models.config import DiTConfig
from cinejax.models.dit import DiT

Params = Any
# a film_fn: -> (velocity_BNFYXC, ranks_LBSR)
FilmFn = Callable[..., tuple[jax.Array, jax.Array | None]]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Denoised:
  """One pass over a bank."""

  velocity_BFYXC: jax.Array  # of the last segment, float32
  key_LBSTHK: jax.Array  # of every segment, not rotated
  value_LBSTHK: jax.Array
  rank_LBSR: jax.Array  # what was routed, by rank in the pass's view


def _grid(cfg: DiTConfig, x: jax.Array) -> mixing.Grid:
  _, rows, columns = cfg.patch
  return mixing.Grid(
    frames=x.shape[-4],
    rows=x.shape[-3] // rows,
    columns=x.shape[-2] // columns,
    implementation=cfg.attention,
  )


def _context(memory: MemoryConfig) -> dict[str, Any]:
  return {
    'routed': memory.context_frames,
    'by_content': memory.policy == 'camr',
    'absolute': memory.policy == 'full',
    'scope': memory.scope,
    'route_layer': memory.route_layer,
  }


# what begins at zero: a network that has it does at first as one that has not
FROM_ZERO = ('action_embedding/kernel',)


def init_params(cfg: DiTConfig, key: jax.Array) -> Params:
  """Fresh float32 parameters; leaves under `blocks` have a leading L."""
  # the least that a table of positions allows
  rows, columns = (
    patch * max(1, places)
    for patch, places in zip(cfg.patch[1:], cfg.positions, strict=True)
  )
  x = jnp.zeros((1, 1, 1, rows, columns, cfg.channels))
  text = jnp.zeros((1, 1, 1 + bool(cfg.actions), cfg.text_features))
  model = DiT(cfg, mixing.Bidirectional(_grid(cfg, x)))
  arguments = (x, jnp.zeros((1, 1, 1)), text, None, None, None)
  return jax.jit(model.init)(key, *arguments)['params']


def resting_types(cfg: DiTConfig, params: Params) -> Params:
  """The types in which parameters that are not trained may be held.

  Kernels and biases that every pass would cast to the compute type are held
  in it, at half the memory and with the same result; norms, modulation and
  time stay float32. `params` are arrays or their shapes.
  """
  flat = tree_lib.paths(params)

  def dtype(name: str, x: Any) -> Any:
    layer, _, kind = name.rpartition('/')
    cast = kind in ('kernel', 'bias') and f'{layer}/kernel' in flat
    cast = cast and not layer.startswith('time_')
    return jnp.dtype(cfg.compute_dtype) if cast else x.dtype

  return tree_lib.nested({name: dtype(name, x) for name, x in flat.items()})


def make_bidirectional_fn(cfg: DiTConfig) -> Callable[..., jax.Array]:
  """-> fn(params, x_BSFYXC, t_BSF, text_BNWD, real_B) -> velocity_BSFYXC.

  real_B: how many segments of a film are no padding, its first ones; None
  (default): all.
  """

  def bidirectional_fn(params, x_BSFYXC, t_BSF, text_BNWD, real_B=None):
    model = DiT(cfg, mixing.Bidirectional(_grid(cfg, x_BSFYXC)))
    velocity, _, _ = model.apply(
      {'params': params}, x_BSFYXC, t_BSF, text_BNWD, real_B, None, None
    )
    return velocity

  return bidirectional_fn


def make_bidirectional_film_fn(cfg: DiTConfig) -> FilmFn:
  """The same as a film_fn: it reads no clean film, key or ranks, gives None.

  Chunks of shot -1 are padding, which no other chunk sees.
  """
  whole_pass = _whole_pass(cfg, lambda mixer: mixer)

  def film_fn(*arguments, ranks=None):
    del ranks
    velocity, _, _ = whole_pass(*arguments)
    return velocity, None

  return film_fn


def make_film_fn(cfg: DiTConfig, memory: MemoryConfig) -> FilmFn:
  """-> fn(params, clean, noisy, t_BSF, text_BNWD, shot_BN, key, ranks=None)
  -> (velocity, ranks_LBSR).

  clean is [B, N, F, Y, X, C], noisy [B, S, F, Y, X, C] with S = N or a multiple
  of it: several noisy copies of the film, one after another, which read one
  clean copy and not each other. All share frame positions; clean segments
  have t = 0; the velocity is that of the noisy segments. `key` draws what
  policy `random` routes. Ranks are what each layer has routed (None where it
  reads all); those that are given, of the prompted branch, are taken instead of
  routing anew, unless `memory.cfg_routing` is `own`.
  """
  film_pass = _film_pass(cfg, memory, lambda mixer: mixer)

  def film_fn(*arguments, ranks=None):
    given = None if memory.cfg_routing == 'own' else ranks
    velocity, _, ranks_LBSR = film_pass(*arguments, given)
    return velocity, ranks_LBSR

  return film_fn


def make_values_fn(
  cfg: DiTConfig, memory: MemoryConfig | None, layers: tuple[int, ...]
) -> Callable[..., jax.Array]:
  """-> fn of film_fn's arguments -> value_LBNTD of the noisy half's layers.

  memory: of film_fn's pass; None: the pass is bidirectional_film_fn's. All
  layers' values pass through the device's memory, `layers` of them come out.
  """
  if memory is None:
    film_pass = _whole_pass(cfg, mixing.Watched)
  else:
    film_pass = _film_pass(cfg, memory, mixing.Watched)

  def values_fn(params, clean_BNFYXC, noisy_BNFYXC, *others):
    _, _, value_LBSTHK = film_pass(params, clean_BNFYXC, noisy_BNFYXC, *others)
    chunks = noisy_BNFYXC.shape[1]  # the last of S, or all
    value_LBNTHK = value_LBSTHK[np.array(layers), :, -chunks:]
    return value_LBNTHK.reshape(*value_LBNTHK.shape[:-2], cfg.features)

  return values_fn


def _whole_pass(cfg, watch: Callable):
  """bidirectional_film_fn with all that the DiT returns; `watch` as below."""

  def whole_pass(
    params, clean_BNFYXC, noisy_BNFYXC, t_BNF, text_BNWD, shot_BN, key
  ):
    del clean_BNFYXC, key
    mixer = watch(mixing.Bidirectional(_grid(cfg, noisy_BNFYXC)))
    real_B = (shot_BN >= 0).sum(1)
    return DiT(cfg, mixer).apply(
      {'params': params}, noisy_BNFYXC, t_BNF, text_BNWD, real_B, None, None
    )

  return whole_pass


def _film_pass(cfg, memory, watch: Callable):
  """film_fn with all that the DiT returns; `watch` wraps the mixer."""

  def film_pass(
    params,
    clean_BNFYXC,
    noisy_BSFYXC,
    t_BSF,
    text_BNWD,
    shot_BN,
    key,
    given_LBSR=None,
  ):
    chunks, frames = clean_BNFYXC.shape[1:3]
    copies = noisy_BSFYXC.shape[1] // chunks
    chex.assert_equal_shape_suffix([clean_BNFYXC, noisy_BSFYXC], 4)
    chex.assert_axis_dimension(noisy_BSFYXC, 1, copies * chunks)
    grid = _grid(cfg, clean_BNFYXC)
    layer = jnp.arange(cfg.layers)
    if memory.training == 'full':
      mixer, shared, rank = mixing.FullHistory(grid, chunks), None, None
    else:
      mixer = mixing.RoutedHistory(grid, **_context(memory), chunks=chunks)
      view = router.film_view(
        shot_BN,
        frames=frames,
        window=memory.window_frames,
        routed=memory.context_frames,
        policy=memory.policy,
        noise_BNE=jax.random.uniform(
          key, (*shot_BN.shape, chunks * frames), jnp.float32
        ),
      )
      view = router.join(*[view] * (1 + copies))
      shared = mixing.Routing(view=view, decide=jnp.array(given_LBSR is None))
      rank = router.none_routed(view, memory.context_frames)
    layers = mixing.LayerMemory(index=layer, memory=None, given_BSR=given_LBSR)
    unroll = cfg.unroll == 'training'
    return DiT(cfg, watch(mixer), skip=chunks, unroll=unroll).apply(
      {'params': params},
      jnp.concatenate([clean_BNFYXC, noisy_BSFYXC], 1),
      jnp.concatenate([jnp.zeros_like(t_BSF[:, :chunks]), t_BSF], 1),
      text_BNWD,
      shared,
      layers,
      rank,
    )

  return film_pass


def make_denoise_fn(
  cfg: DiTConfig, memory: MemoryConfig
) -> Callable[..., Denoised]:
  """-> fn(params, x_BSFYXC, t_BSF, text_BSWD, bank, view, given, decide).

  S = 1: a chunk; S = 2: [clean i | noisy i+1], the commit of one chunk and
  the first step of the next. `given` [L, B, S, R] are the ranks to take
  where `decide` is False (None: always decide).
  """

  def denoise_fn(
    params,
    x_BSFYXC,
    t_BSF,
    text_BSWD,
    bank: bank_lib.Memory,
    view: router.View,
    given_LBSR: jax.Array | None = None,
    decide: jax.Array | bool = True,
  ) -> Denoised:
    grid = _grid(cfg, x_BSFYXC)
    last = x_BSFYXC.shape[1] - 1
    velocity, _, kept = DiT(
      cfg, mixing.Banked(grid, **_context(memory)), skip=last
    ).apply(
      {'params': params},
      x_BSFYXC,
      t_BSF,
      text_BSWD,
      mixing.Routing(view=view, decide=jnp.asarray(decide)),
      mixing.LayerMemory(
        index=jnp.arange(cfg.layers), memory=bank, given_BSR=given_LBSR
      ),
      router.none_routed(view, memory.context_frames),
    )
    return Denoised(
      velocity_BFYXC=velocity[:, 0],
      key_LBSTHK=kept.key_BSTHK,
      value_LBSTHK=kept.value_BSTHK,
      rank_LBSR=kept.rank_BSR,
    )

  return denoise_fn
