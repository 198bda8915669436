"""Measures how fast a config trains and rolls out, and in how much memory.

  python -m cinejax.bench --config=configs/story.py --what=train [--out=FILE]
  python -m cinejax.bench --config=configs/wan_1_3b.py --what=train \\
    --stage=dmd --config.stage.dmd.batch=1 --config.data.chunks=7
  python -m cinejax.bench --config=configs/story.py --what=rollout \\
    --config.memory.policy=window --config.rollout.commit=fused

One JSON line a row, printed and added to FILE. Networks are random unless
`--weights` names some, and so are the films of `train`; neither changes the
time. Rows (equations in evaluation/throughput.py):

  train    step_ms, an update of --stage; tokens_per_sec counts the tokens of
           the batch's films, mfu what training/planned.py counts of the model
  rollout  chunk_ms, by one compiled scan of config.rollout.chunks_per_call
           chunks; pixel_fps without and with the codec
  first    first_ms, from a prompt to the first frames of its film, fetched
  stream   chunk_ms early and late in a long film; compilations and bytes of
           the bank, which stay as they are from chunk 3 on
  serve    --batch directors at once for --secs seconds, by sessions of
           cinejax.serve: frames a second on screen, latency_ms of directions
           (serving/load.py)

Milliseconds are {median, min, max, n}. Nothing comes from the cache of
compiled programs, so that compile_secs is honest.
"""

import dataclasses
import json
import statistics
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from cinejax import command
from cinejax.config import Config
from cinejax.core import tree as tree_lib
from cinejax.core.files import append_line
from cinejax.core.sharding import batch_sharding, make_mesh
from cinejax.director import Director, load_director, weight_places
from cinejax.evaluation import throughput
from cinejax.models import denoiser
from cinejax.models.codec.base import Codec
from cinejax.models.codec.select import make_codec
from cinejax.serving import load
from cinejax.training import planned
from cinejax.training.stages import STAGES
from cinejax.training.state import shardings
from cinejax.training.steps import place

Row = dict[str, Any]


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_multi_enum(
    'what',
    None,
    ['train', 'rollout', 'first', 'stream', 'serve'],
    'Rows.',
    required=True,
  )
  flags.DEFINE_string('out', '', 'File to add the rows to.')
  flags.DEFINE_enum(
    'stage',
    'base',
    [stage.name for stage in STAGES if stage.name != 'codec'],
    'Whose updates are timed by --what=train.',
  )
  flags.DEFINE_string('weights', '', 'File or folder; default: random.')
  flags.DEFINE_integer('repeats', 10, 'Timed calls of a row.', lower_bound=10)
  flags.DEFINE_integer('batch', 1, 'Films rolled out together.', lower_bound=1)
  flags.DEFINE_integer(
    'chunks', 210, 'Length of a stream.', lower_bound=throughput.SHORTEST
  )
  flags.DEFINE_float('secs', 60.0, 'Of serving.', lower_bound=10.0)


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  jax.config.update('jax_enable_compilation_cache', False)
  for what in args.what:
    if what == 'train':
      row = train_row(cfg, args.stage, args.repeats)
    elif what == 'rollout':
      director = make_director(cfg, args.weights)
      row = throughput.rollout_row(director, args.batch, args.repeats)
    elif what == 'first':
      director = make_director(cfg, args.weights)
      row = throughput.first_row(director, args.batch, args.repeats)
    elif what == 'serve':
      director = make_director(cfg, args.weights)
      row = serve_row(director, args.batch, args.secs)
    else:
      director = make_director(cfg, args.weights)
      row = throughput.stream_row(director, args.batch, args.chunks)
    told = {'command': command.line(), 'what': what, 'config': cfg.name}
    line = json.dumps(told | row)
    print(line, flush=True)
    if args.out:
      append_line(args.out, line)


def make_director(cfg: Config, weights: str = '') -> Director:
  """With random networks where `weights` is ''."""
  if weights:
    return load_director(cfg, weights)
  cfg = with_any_text(cfg)
  codec, key = make_codec(cfg.codec), jax.random.key(cfg.seed)
  params = denoiser.init_params(cfg.dit, key)
  params = jax.device_put(params, weight_places(cfg, params))
  return Director(cfg, params, codec, _random_codec(codec, cfg.seed))


def _random_codec(codec: Codec, seed: int) -> Any:
  """By numpy: to compile a large codec's `init` takes minutes."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(codec.init, jax.random.key(0))
  params = jax.tree.map(
    lambda x: jnp.asarray(0.02 * rng.standard_normal(x.shape, np.float32)),
    shapes,
  )
  return params | {'std_C': jnp.ones(codec.channels)}


def with_any_text(cfg: Config) -> Config:
  """Hashed captions of the same size: prompts are encoded ahead of time."""
  text = dataclasses.replace(cfg.text, name='hashed')
  return dataclasses.replace(cfg, text=text)


def serve_row(director: Director, directors: int, secs: float) -> Row:
  """What the least and all of `directors` get; they share one Studio."""
  got = load.serve(director, directors, secs)
  return {
    'batch': directors,
    'secs': secs,
    'slots': director.cfg.serving.slots,
    'steps': director.cfg.rollout.steps,
    'film_fps': director.cfg.film.fps,
    'screen_fps_least': min(one.screen_fps for one in got),
    'screen_fps_all': sum(one.screen_fps for one in got),
    'latency_ms': throughput.spread(
      [secs for one in got for secs in one.latency_secs]
    ),
    'ahead_ms_most': 1e3 * max(one.ahead_secs for one in got),
    'frames_dropped': sum(one.dropped for one in got),
    **throughput.ran(director.cfg),
  }


def train_row(cfg: Config, stage: str, repeats: int) -> Row:
  """An update of `stage` as `cinejax.train` does it, on cfg.mesh."""
  mesh = make_mesh(cfg.mesh)
  program = planned.make_planned(stage, cfg, mesh)
  state, frozen, _ = program.args
  with jax.set_mesh(mesh):
    state, frozen = _random_networks((state, frozen))
    batch = place(_random_films(cfg, stage), batch_sharding(mesh))
    compiled, compile_secs = throughput.compile_timed(
      program.fn, state, frozen, batch
    )
    secs = throughput.time_calls(
      lambda state: compiled(state, frozen, batch), state, repeats
    )
  work = planned.work(stage, cfg, mesh)
  mean = statistics.mean(secs)  # updates of dmd differ
  return {
    'stage': stage,
    'batch': getattr(cfg.stage, stage).batch,
    'chunks': cfg.data.chunks,
    'training': cfg.memory.training,
    'remat': cfg.dit.remat,
    'moments_dtype': getattr(cfg.stage, stage).moments_dtype,
    'compile_secs': compile_secs,
    'step_ms': throughput.spread(secs),
    'tokens_per_sec': work.tokens / mean,
    'mfu': work.flops / mean / work.peak_flops if work.peak_flops else None,
    **throughput.ran(cfg, compiled),
  }


def _random_networks(tree: Any) -> Any:
  """On the devices; an optimizer that has seen nothing yet."""

  def leaf(path: tuple[Any, ...], x: jax.ShapeDtypeStruct) -> jax.Array:
    name = tree_lib.path_name(path)
    if 'opt_state' in name or not jnp.issubdtype(x.dtype, jnp.floating):
      return jnp.zeros(x.shape, x.dtype)
    key = jax.random.key(zlib.crc32(name.encode()))
    return jax.random.uniform(key, x.shape, x.dtype, -0.04, 0.04)

  return jax.jit(
    lambda: jax.tree_util.tree_map_with_path(leaf, tree),
    out_shardings=shardings(tree),
  )()


def _random_films(cfg: Config, stage: str) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(cfg.seed)
  films = {
    name: rng.standard_normal(x.shape, np.float32)
    for name, x in planned.make_batch(cfg, stage).items()
  }
  films['mask'] = np.ones_like(films['mask'])
  shots_N = np.arange(cfg.data.chunks, dtype=np.int32) // 2
  return films | {'shots': np.tile(shots_N, (len(films['mask']), 1))}


if __name__ == '__main__':
  define_flags()
  command.run(main)
