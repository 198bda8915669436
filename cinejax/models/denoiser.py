"""The DiT as pure functions of its parameters, one for each use.

film_fn           [clean 1..N | noisy 1..N], to train by teacher forcing
bidirectional_fn  a whole film at once, in which every frame sees every frame
values_fn         either of these, returning attention values of some layers

rollout_pass.py has that of a rollout, a chunk over a memory bank.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.memory import router
from cinejax.memory.config import MemoryConfig
from cinejax.models import film_mixing, mixing
from cinejax.models.config import DiTConfig
from cinejax.models.dit import DiT

Params = Any
# See make_film_fn; returns (velocity_BSFYXC, ranks_LBSR).
FilmFn = Callable[..., tuple[jax.Array, jax.Array | None]]


def token_grid(cfg: DiTConfig, x: jax.Array) -> mixing.TokenGrid:
  """The grid of the tokens of latents [..., F, Y, X, C]."""
  _, rows, columns = cfg.patch
  return mixing.TokenGrid(
    frames=x.shape[-4],
    rows=x.shape[-3] // rows,
    columns=x.shape[-2] // columns,
    implementation=cfg.attention,
  )


def context_fields(memory: MemoryConfig) -> dict[str, Any]:
  """The fields of a mixer with a context."""
  rag = memory.policy == 'rag'  # whose first layer decides for all
  return {
    'routed': memory.context_frames,
    'by_content': memory.policy in ('camr', 'rag'),
    'by_latest': rag,
    'by_head': memory.by_head,
    'absolute': memory.policy == 'full',
    'scope': 'shared' if rag else memory.scope,
    'route_layer': 0 if rag else memory.route_layer,
  }


# Parameters that start at zero, so that adding them changes nothing at first.
FROM_ZERO = (
  'action_embedding/kernel',
  'camera_embedding/kernel',
  'blocks/route_gate_bias',
  'blocks/route_gate_slope',
)


def init_params(cfg: DiTConfig, key: jax.Array) -> Params:
  """New float32 parameters; leaves under `blocks` have a leading L."""
  # The smallest frame that the table of positions fits.
  rows, columns = (
    patch * max(1, places)
    for patch, places in zip(cfg.patch[1:], cfg.positions, strict=True)
  )
  x = jnp.zeros((1, 1, 1, rows, columns, cfg.channels))
  text = jnp.zeros((1, 1, 1 + cfg.steered, cfg.text_features))
  model = DiT(cfg, film_mixing.BidirectionalMixer(token_grid(cfg, x)))
  arguments = (x, jnp.zeros((1, 1, 1)), text, None, None, None)
  return jax.jit(model.init)(key, *arguments)['params']


def resting_types(cfg: DiTConfig, params: Params) -> Params:
  """The types in which parameters can be stored when they are not trained.

  Kernels and biases that every pass would cast to the compute type are stored
  in it, which halves their memory and changes no result; norms, modulation and
  time stay float32. `params` are arrays or their shapes; the result is a tree
  like it.
  """
  flat = tree_lib.paths(params)

  def dtype(name: str, x: Any) -> Any:
    layer, _, kind = name.rpartition('/')
    cast = kind in ('kernel', 'bias') and f'{layer}/kernel' in flat
    cast = cast and not layer.startswith('time_')
    return jnp.dtype(cfg.compute_dtype) if cast else x.dtype

  return tree_lib.nested({name: dtype(name, x) for name, x in flat.items()})


def make_bidirectional_fn(cfg: DiTConfig) -> Callable[..., jax.Array]:
  """Makes fn(params, x_BSFYXC, t_BSF, text_BNWD, real_B=None).

  It returns velocity_BSFYXC. `real_B` is the number of segments of each film
  that are not padding, its first ones; None: all.
  """

  def bidirectional_fn(params, x_BSFYXC, t_BSF, text_BNWD, real_B=None):
    model = DiT(cfg, film_mixing.BidirectionalMixer(token_grid(cfg, x_BSFYXC)))
    velocity, _, _ = model.apply(
      {'params': params}, x_BSFYXC, t_BSF, text_BNWD, real_B, None, None
    )
    return velocity

  return bidirectional_fn


def make_bidirectional_film_fn(cfg: DiTConfig) -> FilmFn:
  """Makes bidirectional_fn with the signature of make_film_fn's result.

  It ignores the clean film, the key and the ranks, and returns None for ranks.
  Chunks of shot -1 are padding, which no other chunk sees.
  """
  whole_pass = _whole_pass(cfg, lambda mixer: mixer)

  def film_fn(*arguments, ranks=None):
    del ranks
    velocity, _, _ = whole_pass(*arguments)
    return velocity, None

  return film_fn


def make_film_fn(cfg: DiTConfig, memory: MemoryConfig) -> FilmFn:
  """Makes the network of teacher forcing.

  fn(params, clean_BNFYXC, noisy_BSFYXC, t_BSF, text_BNWD, shot_BN, key,
  ranks=None) -> (velocity_BSFYXC, ranks_LBSR), where

    clean   the film; its segments have t = 0
    noisy   S / N noisy copies of it, one after another, which read the clean
            copy and not each other; all copies share frame positions
    shot    the shot of each chunk, -1 where it is padding
    key     draws the frames that policy `random` routes
    ranks   those of the prompted branch: they are read instead of routing
            again, unless `memory.cfg_routing` is `own`

  The velocity is that of the noisy segments. The returned ranks are the frames
  that each layer has routed; None if memory.training is `full`.
  """
  film_pass = make_film_pass(cfg, memory, lambda mixer: mixer)

  def film_fn(*arguments, ranks=None):
    given = None if memory.cfg_routing == 'own' else ranks
    velocity, _, ranks_LBSR = film_pass(*arguments, given)
    return velocity, ranks_LBSR

  return film_fn


def make_values_fn(
  cfg: DiTConfig, memory: MemoryConfig | None, layers: tuple[int, ...]
) -> Callable[..., jax.Array]:
  """Makes fn(film_fn's arguments) -> value_LBNTD of the last noisy copy.

  Args:
    cfg: of the network.
    memory: that of make_film_fn; None: the pass is bidirectional.
    layers: numbers of the layers whose values are returned. The values of all
      layers are in memory during the pass.
  """
  if memory is None:
    film_pass = _whole_pass(cfg, film_mixing.ValueRecorder)
  else:
    film_pass = make_film_pass(cfg, memory, film_mixing.ValueRecorder)

  def values_fn(params, clean_BNFYXC, noisy_BNFYXC, *others):
    _, _, value_LBSTHK = film_pass(params, clean_BNFYXC, noisy_BNFYXC, *others)
    chunks = noisy_BNFYXC.shape[1]  # behind the clean half, if there is one
    value_LBNTHK = value_LBSTHK[np.array(layers), :, -chunks:]
    return value_LBNTHK.reshape(*value_LBNTHK.shape[:-2], cfg.features)

  return values_fn


def _whole_pass(cfg, wrap: Callable):
  """bidirectional_film_fn with all results of the DiT; `wrap` as below."""

  def whole_pass(
    params, clean_BNFYXC, noisy_BNFYXC, t_BNF, text_BNWD, shot_BN, key
  ):
    del clean_BNFYXC, key
    mixer = wrap(film_mixing.BidirectionalMixer(token_grid(cfg, noisy_BNFYXC)))
    real_B = (shot_BN >= 0).sum(1)
    return DiT(cfg, mixer).apply(
      {'params': params}, noisy_BNFYXC, t_BNF, text_BNWD, real_B, None, None
    )

  return whole_pass


def make_recording_fn(
  cfg: DiTConfig,
  memory: MemoryConfig,
  recorder: Callable,
  layers: tuple[int, ...],
) -> Callable[..., tuple[jax.Array, Any]]:
  """Makes the network of make_film_fn that returns what mixers record.

  Args:
    cfg: of the network.
    memory: as of make_film_fn.
    recorder: recorder(mixer) is a mixer whose output is a tree of arrays.
    layers: numbers of the layers whose outputs are returned, stacked.
  """
  film_pass = make_film_pass(cfg, memory, recorder)

  def film_fn(*arguments):
    velocity, _, output = film_pass(*arguments)
    return velocity, jax.tree.map(lambda x: x[np.array(layers)], output)

  return film_fn


def make_film_pass(cfg, memory, wrap: Callable):
  """film_fn with all results of the DiT; wrap(mixer) is the mixer it uses."""

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
    grid = token_grid(cfg, clean_BNFYXC)
    layer = jnp.arange(cfg.layers)
    if memory.training == 'full':
      mixer = film_mixing.FullHistoryMixer(grid, chunks)
      shared = rank = None
    else:
      mixer = mixing.RoutedHistoryMixer(
        grid, **context_fields(memory), chunks=chunks
      )
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
      rank = router.none_routed(view, memory.choices(cfg.heads))
    layers = mixing.LayerMemory(index=layer, memory=None, given_BSR=given_LBSR)
    unroll = cfg.unroll in ('training', 'both')
    return DiT(cfg, wrap(mixer), skip=chunks, unroll=unroll).apply(
      {'params': params},
      jnp.concatenate([clean_BNFYXC, noisy_BSFYXC], 1),
      jnp.concatenate([jnp.zeros_like(t_BSF[:, :chunks]), t_BSF], 1),
      text_BNWD,
      shared,
      layers,
      rank,
    )

  return film_pass
