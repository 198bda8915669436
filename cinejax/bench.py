"""Measures how fast a config trains and rolls out, and in how much memory.

  python -m cinejax.bench --config=configs/story.py --what=train [--out=FILE]
  python -m cinejax.bench --config=configs/wan_1_3b.py --what=train \\
    --stage=dmd --config.stage.dmd.batch=1 --config.data.chunks=7
  python -m cinejax.bench --config=configs/story.py --what=rollout \\
    --config.memory.policy=window --config.rollout.commit=fused

One JSON line a row, printed and added to FILE. Networks are random unless
`--weights` names some, and so are the films of `train`; neither changes the
time. Rows (equations in cinejax/benchmarks/rollout.py):

  train    step_ms, an update of --stage; tokens_per_sec counts the tokens of
           the batch's films, mfu what training/planned.py counts of the model
  rollout  chunk_ms, by one compiled scan of config.rollout.chunks_per_call
           chunks; pixel_fps without and with the codec
  first    first_ms, from a prompt to the first frames of its film, fetched
  stream   chunk_ms early and late in a long film; compilations and bytes of
           the bank, which stay as they are from chunk 3 on
  serve    one director, then --batch at once, for --secs seconds each, by
           sessions of cinejax.serve: frames a second on screen, and of what
           may be on screen or one rollout makes the share; latency_ms of
           directions, what of it was the chunk in flight, the making of the
           next and anything else, and whether that was too long
           (cinejax/benchmarks/serving.py)

Milliseconds are {median, min, max, n}. Nothing comes from the cache of
compiled programs, so that compile_secs is honest.
"""

import dataclasses
import functools
import json
import statistics
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from cinejax import command
from cinejax.benchmarks import rollout, serving
from cinejax.config import Config
from cinejax.core import tree as tree_lib
from cinejax.core.files import append_line, check_file
from cinejax.core.random import key_from_seed
from cinejax.core.sharding import batch_sharding, make_mesh
from cinejax.directing.director import Director
from cinejax.directing.loading import load_director, weight_shardings
from cinejax.models import denoiser
from cinejax.models.codec.base import Codec
from cinejax.models.codec.select import make_codec
from cinejax.training import planned
from cinejax.training.stages import STAGES
from cinejax.training.state import shardings
from cinejax.training.steps import place

Row = dict[str, Any]

# A direction may wait for the chunk in flight, its own, and this.
_OVER_MS = 150


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
    'chunks', 210, 'Length of a stream.', lower_bound=rollout.SHORTEST
  )
  flags.DEFINE_float('secs', 60.0, 'Of serving.', lower_bound=10.0)


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.out:
    check_file(args.out)  # now, not after minutes
  jax.config.update('jax_enable_compilation_cache', False)
  # one for all rows, which share what they compile but for what is timed
  director = functools.cache(lambda: make_director(cfg, args.weights))
  for what in args.what:
    if what == 'train':
      rows = [train_row(cfg, args.stage, args.repeats)]
    elif what == 'rollout':
      rows = [rollout.rollout_row(director(), args.batch, args.repeats)]
    elif what == 'first':
      rows = [rollout.first_row(director(), args.batch, args.repeats)]
    elif what == 'serve':
      rows = serve_rows(director(), args.batch, args.secs, args.repeats)
    else:
      rows = [rollout.stream_row(director(), args.batch, args.chunks)]
    for row in rows:
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
  codec, key = make_codec(cfg.codec), key_from_seed(cfg.seed)
  params = denoiser.init_params(cfg.dit, key)
  params = jax.device_put(params, weight_shardings(cfg, params))
  codec_params = _random_codec(codec, cfg.seed)
  codec_params = jax.device_put(
    codec_params, weight_shardings(cfg, codec_params)
  )
  return Director(cfg, codec, codec_params, params)


def _random_codec(codec: Codec, seed: int) -> Any:
  """By numpy: to compile a large codec's `init` takes minutes."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(codec.init, jax.random.key(0))
  params = jax.tree.map(
    lambda x: 0.02 * rng.standard_normal(x.shape, np.float32),
    shapes,
  )
  return params | {'std_C': np.ones(codec.channels, np.float32)}


def with_any_text(cfg: Config) -> Config:
  """Hashed captions of the same size: prompts are encoded ahead of time."""
  text = dataclasses.replace(cfg.text, name='hashed')
  return dataclasses.replace(cfg, text=text)


def serve_rows(
  director: Director, most: int, secs: float, repeats: int
) -> Iterator[Row]:
  """One director's, then `most` at once; beside what one rollout makes."""
  makes_fps = rollout.rollout_row(director, 1, repeats)['pixel_fps_codec']
  for directors in sorted({1, most}):
    got = serving.serve(director, directors, secs)
    yield _served(director, got, secs, makes_fps)


def _served(
  director: Director,
  got: Sequence[serving.Served],
  secs: float,
  makes_fps: float,
) -> Row:
  cfg = director.cfg
  answers = [answer for one in got for answer in one.answers]
  together = sum(one.screen_fps for one in got)
  over = [answer.over for answer in answers]
  return {
    'batch': len(got),
    'secs': secs,
    'slots': cfg.serving.slots,
    'steps': cfg.rollout.steps,
    'film_fps': cfg.film.fps,
    'rollout_fps': makes_fps,
    'screen_fps_least': min(one.screen_fps for one in got),
    'screen_fps_all': together,
    'share': together / min(makes_fps, len(got) * cfg.film.fps),
    'latency_ms': rollout.spread([one.latency for one in answers]),
    'flight_ms': rollout.spread([one.flight for one in answers]),
    'made_ms': rollout.spread([one.made for one in answers]),
    'over_ms': rollout.spread(over),
    'over_ms_allowed': _OVER_MS,
    'in_time': sum(1e3 * one <= _OVER_MS for one in over) / len(over),
    'ahead_ms_most': 1e3 * max(one.ahead_secs for one in got),
    'frames_dropped': sum(one.dropped for one in got),
    **rollout.ran(cfg),
  }


def train_row(cfg: Config, stage: str, repeats: int) -> Row:
  """An update of `stage` as `cinejax.train` does it, on cfg.mesh."""
  mesh = make_mesh(cfg.mesh)
  program = planned.make_planned(stage, cfg, mesh)
  state, frozen, _ = program.args
  with jax.set_mesh(mesh):
    state, frozen = _random_networks((state, frozen))
    batch = place(_random_films(cfg, stage), batch_sharding(mesh))
    compiled, compile_secs = rollout.compile_timed(
      program.fn, state, frozen, batch
    )
    secs = rollout.time_calls(
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
    'step_ms': rollout.spread(secs),
    'tokens_per_sec': work.tokens / mean,
    'mfu': work.flops / mean / work.peak_flops if work.peak_flops else None,
    **rollout.ran(cfg, compiled),
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
