"""Measures what dit.precision=fp8 changes, layer by layer.

Every layer of the config has random weights and reads a random chunk, time and
caption, and a random bank whose context is full. With f(x) the result of a
layer for the hidden states x, and norms over all tokens,

  update_error           |f_8(x) - f_16(x)| / |f_16(x) - x|, where x are the
                         states of the network in bfloat16                  (1)
  bfloat16_update_error  |f_16(x) - f_32(x)| / |f_16(x) - x|                (2)
  states_error           |x_8 - x_16| / |x_16| after the layer, where each
                         network goes on with its own states                (3)

(2) is the rounding that bfloat16 has anyway. Trained weights have outliers that
random ones lack, so these numbers are a lower bound; films tell more.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.benchmarks.rollout import Measurement, environment
from cinejax.config import Config
from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.models import fp8, mixing
from cinejax.models.bank_mixing import BankMixer
from cinejax.models.block import Block
from cinejax.models.config import DiTConfig
from cinejax.models.denoiser import context_fields

_PRECISIONS = ('float32', 'bfloat16', 'fp8')


def measure_precision(cfg: Config) -> Measurement:
  """Errors (1) to (3) of each layer, and how many tokens were read."""
  view = _full_view(cfg)
  layer_fns = {
    name: jax.jit(functools.partial(_layer, cfg, name)) for name in _PRECISIONS
  }
  key = jax.random.key(cfg.seed)
  draw = jax.jit(functools.partial(_random_block, cfg))
  x = own = jax.random.normal(key, _states_shape(cfg))
  found: dict[str, list[float]] = {
    'update_error': [],
    'bfloat16_update_error': [],
    'states_error': [],
  }
  for layer in range(cfg.dit.layers):
    params, inputs = draw(jax.random.fold_in(key, layer))
    small = fp8.quantized({'blocks': params})['blocks']
    weights = {'float32': params, 'bfloat16': params, 'fp8': small}
    results = {
      name: layer_fns[name](weights[name], x, view, inputs)
      for name in _PRECISIONS
    }
    own = layer_fns['fp8'](small, own, view, inputs)
    update = _norm(results['bfloat16'] - x)
    for name, other in (
      ('update_error', 'fp8'),
      ('bfloat16_update_error', 'float32'),
    ):
      error = _norm(results[other] - results['bfloat16']) / update
      found[name].append(float(error))
    x = results['bfloat16']
    found['states_error'].append(float(_norm(own - x) / _norm(x)))
  _, _, frames, tokens, _ = _states_shape(cfg)
  return {
    'layers': cfg.dit.layers,
    'features': cfg.dit.features,
    'tokens': frames * tokens,
    'context_tokens': (frames + _slots(cfg) - 1) * tokens,
    **found,
    **environment(cfg),
  }


def _grid(cfg: Config, precision: str) -> mixing.TokenGrid:
  height, width, _ = cfg.frame_shape
  _, rows, columns = cfg.dit.patch
  return mixing.TokenGrid(
    frames=cfg.film.frames_per_chunk,
    rows=height // rows,
    columns=width // columns,
    implementation=cfg.dit.attention,
    precision='fp8' if precision == 'fp8' else 'compute',
  )


def _states_shape(cfg: Config) -> tuple[int, int, int, int, int]:
  """B, S, F, P, D of the hidden states of a chunk."""
  tokens = _grid(cfg, 'bfloat16').tokens
  return 1, 1, cfg.film.frames_per_chunk, tokens, cfg.dit.features


def _full_view(cfg: Config) -> router.View:
  """The view of a chunk over a bank that is full; only its table is needed."""
  slots = _slots(cfg)
  bank = bank_lib.empty(
    layers=1,
    batch=1,
    frames=slots,
    tokens=1,
    heads=1,
    features=1,
    dtype=jnp.float32,
  )
  frame_BE = jnp.arange(slots)[None]
  return router.bank_view(
    bank.replace(frame_BE=frame_BE, valid_BE=frame_BE >= 0),
    jnp.array([slots]),
    frames=cfg.film.frames_per_chunk,
    window=cfg.memory.window_frames,
    routed=cfg.memory.context_frames,
    policy='camr',
  )


def _slots(cfg: Config) -> int:
  """Frames of the bank: as few as fill a context, with one to choose from."""
  return cfg.memory.window_frames + cfg.memory.context_frames + 1


def _random_block(cfg: Config, key: jax.Array) -> tuple[Any, dict[str, Any]]:
  """The weights of a layer, and what it alone reads."""
  keys = jax.random.split(key, 4)
  _, _, frames, tokens, features = _states_shape(cfg)
  heads = cfg.dit.heads, cfg.dit.head_features
  k, v = jax.random.normal(keys[0], (2, 1, _slots(cfg), tokens, *heads))
  inputs = {
    'modulation': 0.3 * jax.random.normal(keys[1], (1, 1, frames, 6, features)),
    'text': jax.random.normal(keys[2], (1, 1, cfg.text.words, features)),
    'memory': bank_lib.Memory(
      key=bank_lib.Stored(data=k),
      value=bank_lib.Stored(data=v),
      descriptor=bank_lib.descriptor(k),
    ),
  }
  block = Block(_dit(cfg, 'float32'), _mixer(cfg, 'float32'))
  x = jnp.zeros(_states_shape(cfg))
  arguments = _arguments(cfg, x, _full_view(cfg), inputs)
  return block.init(keys[3], *arguments)['params'], inputs


def _dit(cfg: Config, precision: str) -> DiTConfig:
  dtype = 'float32' if precision == 'float32' else 'bfloat16'
  return dataclasses.replace(cfg.dit, compute_dtype=dtype, remat='none')


def _mixer(cfg: Config, precision: str) -> BankMixer:
  return BankMixer(_grid(cfg, precision), **context_fields(cfg.memory))


def _arguments(cfg, x, view, inputs):
  rank = router.none_routed(view, cfg.memory.choices(cfg.dit.heads))
  return (
    (x, rank),
    inputs['modulation'],
    inputs['text'],
    mixing.Routing(view=view, decide=jnp.array(True)),
    mixing.LayerMemory(
      index=jnp.array(0), memory=inputs['memory'], given_BSR=None
    ),
  )


def _layer(cfg, precision, params, x, view, inputs):
  """f(x) of a layer in one precision."""
  block = Block(_dit(cfg, precision), _mixer(cfg, precision))
  (x, _), _ = block.apply({'params': params}, *_arguments(cfg, x, view, inputs))
  return x


def _norm(x: jax.Array) -> jax.Array:
  return jnp.linalg.norm(x.astype(jnp.float32).reshape(-1))
