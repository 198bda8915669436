"""Measures how fast a config trains and rolls out, and in how much memory.

  python -m cinejax.bench --config=configs/story.py --what=train [--out=FILE]
  python -m cinejax.bench --config=configs/wan_1_3b.py --what=train \\
    --stage=dmd --config.stage.dmd.batch=1 --config.data.chunks=7
  python -m cinejax.bench --config=configs/story.py --what=rollout \\
    --config.memory.policy=window --config.rollout.commit=fused

Each measurement is one line of JSON, printed and appended to FILE. Networks are
random unless `--weights` is given, and the films of `train` are random too;
neither affects the times. Measurements (equations in benchmarks/rollout.py):

  train    step_ms of an update of --stage; film_ms of one film of its batch
           and one of config.diffusion.copies; tokens_per_sec counts the tokens
           of the batch's films, mfu and gflops_per_sec the operations that
           training/planned.py counts; measured_peak_share is their share of
           what large products in that precision reach there
  rollout  chunk_ms in one compiled scan of config.rollout.chunks_per_call
           chunks, and chunk_cpu_ms of the host's processors; pixel_fps without
           and with the codec
  first    first_ms from a prompt to the first frames of its film on the host
  stream   chunk_ms early and late in a long film; compilations and bytes of the
           bank, both of which are constant from chunk 3 on
  precision  errors of each layer in dit.precision=fp8, with random weights
           (benchmarks/precision.py)
  serve    sessions of cinejax.serve, one and then --batch at once, for --secs
           seconds each: frames per second on screen, and their share of what
           the frame rate or one rollout allows; latency_ms of directions and
           its parts: the chunk in flight, the generation of the next chunk, and
           overhead, with the share of directions whose overhead is within
           limits (benchmarks/serving.py)
  seek     seek_ms from a request for any frame of a film of --film_secs to the
           decoded frame, while the same server rolls another film
           (benchmarks/seeking.py)
  soak     memory_mb of a server with --batch films, each with a viewer who
           watches and directs and one who scrubs, over --secs seconds
           (benchmarks/soaking.py)

Milliseconds are {median, min, max, n}. The cache of compiled programs is not
used, so that compile_secs is the time of a compilation.
"""

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from cinejax import command
from cinejax.benchmarks import (
  precision,
  rollout,
  seeking,
  serving,
  soaking,
  training,
)
from cinejax.benchmarks.rollout import Measurement
from cinejax.config import Config
from cinejax.core.files import append_line, check_file
from cinejax.core.random import key_from_seed
from cinejax.directing.director import Director
from cinejax.directing.loading import load_director, weight_shardings
from cinejax.models import denoiser
from cinejax.models.arrangement import arranged
from cinejax.models.codec.base import Codec
from cinejax.models.codec.select import make_codec
from cinejax.training.stages import STAGES

# The longest time that a direction should wait besides the chunk in flight and
# the generation of its own chunk.
_OVERHEAD_MS = 150


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_multi_enum(
    'what',
    None,
    'train rollout first stream precision serve seek soak'.split(),
    'What to measure.',
    required=True,
  )
  flags.DEFINE_string('out', '', 'File to append the measurements to.')
  flags.DEFINE_enum(
    'stage',
    'base',
    [stage.name for stage in STAGES],
    'Stage whose updates --what=train times.',
  )
  flags.DEFINE_string('weights', '', 'A file or a folder; default: random.')
  flags.DEFINE_integer(
    'repeats', 10, 'Timed calls of a measurement.', lower_bound=10
  )
  flags.DEFINE_integer('batch', 1, 'Films rolled out together.', lower_bound=1)
  flags.DEFINE_integer(
    'chunks',
    210,
    'Length of the film of --what=stream.',
    lower_bound=rollout.SHORTEST,
  )
  flags.DEFINE_float(
    'secs',
    60.0,
    'Seconds of each measurement of --what=serve, and of --what=soak.',
    lower_bound=10.0,
  )
  flags.DEFINE_float(
    'film_secs',
    600.0,
    'Length of the film of --what=seek.',
    lower_bound=1.0,
  )


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.out:
    check_file(args.out)  # before minutes of measurements
  jax.config.update('jax_enable_compilation_cache', False)
  # The measurements share a director, and with it all programs but those timed.
  director = functools.cache(lambda: make_director(cfg, args.weights))
  for what in args.what:
    if what == 'train':
      found = [training.measure_train(cfg, args.stage, args.repeats)]
    elif what == 'rollout':
      found = [rollout.measure_rollout(director(), args.batch, args.repeats)]
    elif what == 'first':
      found = [rollout.measure_first(director(), args.batch, args.repeats)]
    elif what == 'precision':
      found = [precision.measure_precision(cfg)]
    elif what == 'serve':
      found = measure_serve(director(), args.batch, args.secs, args.repeats)
    elif what == 'seek':
      found = [measure_seek(director(), args.film_secs, args.repeats)]
    elif what == 'soak':
      found = [measure_soak(director(), args.batch, args.secs)]
    else:
      found = [rollout.measure_stream(director(), args.batch, args.chunks)]
    for measurement in found:
      origin = {'command': command.line(), 'what': what, 'config': cfg.name}
      line = json.dumps(origin | measurement)
      print(line, flush=True)
      if args.out:
        append_line(args.out, line)


def make_director(cfg: Config, weights: str = '') -> Director:
  """A director with these weights, or with random ones if they are ''."""
  if weights:
    return load_director(cfg, weights)
  cfg = with_any_text(cfg)
  codec, key = make_codec(cfg.codec), key_from_seed(cfg.seed)
  params = denoiser.init_params(cfg.dit, key)
  params = jax.device_put(params, weight_shardings(cfg, params))
  types = denoiser.resting_types(cfg.dit, params)  # as weights are loaded
  params = jax.tree.map(jnp.astype, params, types)
  params = arranged(cfg.dit, params, jax.default_backend())
  codec_params = _random_codec(codec, cfg.seed)
  codec_params = jax.device_put(
    codec_params, weight_shardings(cfg, codec_params)
  )
  return Director(cfg, codec, codec_params, params)


def _random_codec(codec: Codec, seed: int) -> Any:
  """Random parameters from numpy.

  Compiling the `init` of a large codec would take minutes.
  """
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(codec.init, jax.random.key(0))
  params = jax.tree.map(
    lambda x: 0.02 * rng.standard_normal(x.shape, np.float32),
    shapes,
  )
  return params | {'std_C': np.ones(codec.channels, np.float32)}


def with_any_text(cfg: Config) -> Config:
  """`cfg` with hashed captions of the same shape.

  Prompts are encoded ahead of time, so the encoder does not affect the times.
  """
  text = dataclasses.replace(cfg.text, name='hashed')
  return dataclasses.replace(cfg, text=text)


def measure_serve(
  director: Director, most: int, secs: float, repeats: int
) -> Iterator[Measurement]:
  """Measures one viewer, then `most` at once, and what one rollout makes."""
  found = rollout.measure_rollout(director, 1, repeats)
  for count in sorted({1, most}):
    viewers = serving.serve(director, count, secs)
    yield _serve(director, viewers, secs, found['pixel_fps_codec'])


def measure_seek(
  director: Director, film_secs: float, repeats: int
) -> Measurement:
  """Measures ten times `repeats` seeks, since each is short."""
  found = seeking.seek(director, film_secs, 10 * repeats)
  return {
    'film_secs': found.film_secs,
    'film_fps': director.cfg.film.fps,
    'seek_ms': rollout.spread_ms(found.secs),
    'chunk_bytes': found.chunk_bytes,
    **rollout.environment(director.cfg),
  }


def measure_soak(director: Director, films: int, secs: float) -> Measurement:
  """Measures the memory of a server with `films` for `secs`."""
  found = soaking.soak(director, films, secs)
  return {
    'batch': films,
    'secs': secs,
    'steps': director.cfg.rollout.steps,
    'film_fps': director.cfg.film.fps,
    'screen_fps': found.screen_fps,
    'chunks': found.chunks,
    'seeks': found.seeks,
    # [seconds, own, all]; see benchmarks/soaking.py
    'memory_mb': [
      [
        round(one.secs),
        round(one.own_bytes / 1e6, 1),
        round(one.all_bytes / 1e6, 1),
      ]
      for one in found.samples
    ],
    **rollout.environment(director.cfg),
  }


def _serve(
  director: Director,
  viewers: Sequence[serving.ViewerResult],
  secs: float,
  rollout_fps: float,
) -> Measurement:
  cfg = director.cfg
  latencies = [latency for one in viewers for latency in one.latencies]
  total_fps = sum(one.screen_fps for one in viewers)
  overheads = [latency.overhead for latency in latencies]
  in_time = [1e3 * overhead <= _OVERHEAD_MS for overhead in overheads]
  return {
    'batch': len(viewers),
    'secs': secs,
    'slots': cfg.serving.slots,
    'steps': cfg.rollout.steps,
    'film_fps': cfg.film.fps,
    'rollout_fps': rollout_fps,
    'screen_fps_min': min(one.screen_fps for one in viewers),
    'screen_fps_total': total_fps,
    'screen_fps_share': total_fps
    / min(rollout_fps, len(viewers) * cfg.film.fps),
    'latency_ms': rollout.spread_ms([one.total for one in latencies]),
    'in_flight_ms': rollout.spread_ms([one.in_flight for one in latencies]),
    'generation_ms': rollout.spread_ms([one.generation for one in latencies]),
    'overhead_ms': rollout.spread_ms(overheads),
    'overhead_ms_limit': _OVERHEAD_MS,
    'in_time_share': sum(in_time) / len(in_time),
    'lead_ms_max': 1e3 * max(one.lead_secs for one in viewers),
    'frames_dropped': sum(one.dropped for one in viewers),
    **rollout.environment(cfg),
  }


if __name__ == '__main__':
  define_flags()
  command.run(main)
