"""Measures how fast a config trains and rolls out, and in how much memory.

  python -m cinejax.bench --config=configs/story.py --what=train [--out=FILE]
  python -m cinejax.bench --config=configs/story.py --what=rollout \\
    --config.memory.policy=window --config.rollout.commit=fused

One JSON line a row, printed and added to FILE. Networks are random unless
`--weights` names some, and so are the films of `train`; neither changes the
time. Rows (equations in evaluation/throughput.py):

  train    step_ms, an update of the base stage; tokens_per_sec counts the
           tokens of the batch's films
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
import functools
import json
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from cinejax import command
from cinejax.config import Config
from cinejax.core.files import append_line
from cinejax.core.sharding import batch_sharding, make_mesh
from cinejax.director import Director, load_director, weight_places
from cinejax.evaluation import throughput
from cinejax.interop.texts import load_text
from cinejax.models import denoiser
from cinejax.models.codec.base import Codec
from cinejax.models.codec.select import make_codec
from cinejax.serving import load
from cinejax.training import planned
from cinejax.training.optim import make_optimizer
from cinejax.training.stages import make_base_loss
from cinejax.training.state import abstract_state, make_init, shardings
from cinejax.training.steps import make_train_step, place

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
      row = train_row(cfg, args.repeats)
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


def train_row(cfg: Config, repeats: int) -> Row:
  """An update of the base stage as `cinejax.train` does it, on cfg.mesh."""
  settings, mesh = cfg.stage.base, make_mesh(cfg.mesh)
  planned.check_mesh('base', cfg, mesh)
  optimizer = make_optimizer(settings)
  init_fn = functools.partial(denoiser.init_params, cfg.dit)
  init = make_init(init_fn, optimizer, cfg.seed)
  with jax.set_mesh(mesh):
    abstract = abstract_state(init, mesh)
    state = jax.jit(init, out_shardings=shardings(abstract))()
    step = make_train_step(
      make_base_loss(cfg, load_text(with_any_text(cfg).text)),
      optimizer,
      settings,
      mesh,
      shardings(abstract),
      {},
      batch_sharding(mesh),
    )
    batch = place(_random_films(cfg), batch_sharding(mesh))
    compiled, compile_secs = throughput.compile_timed(step, state, {}, batch)
    secs = throughput.time_calls(
      lambda state: compiled(state, {}, batch), state, repeats
    )
  tokens = settings.batch * cfg.data.chunks * throughput.chunk_tokens(cfg)
  return {
    'batch': settings.batch,
    'chunks': cfg.data.chunks,
    'training': cfg.memory.training,
    'compile_secs': compile_secs,
    'step_ms': throughput.spread(secs),
    'tokens_per_sec': tokens / statistics.median(secs),
    **throughput.ran(cfg, compiled),
  }


def _random_films(cfg: Config) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(cfg.seed)
  batch, chunks, film = cfg.stage.base.batch, cfg.data.chunks, cfg.film
  height, width = throughput.latent_size(cfg)
  frames = chunks * film.frames_per_chunk
  latents = (batch, frames, height, width, cfg.dit.channels)
  text = (batch, chunks, cfg.text.rows, cfg.text.features)
  shots_N = np.arange(chunks, dtype=np.int32) // 2
  return {
    'latents': rng.standard_normal(latents, np.float32),
    'text': rng.standard_normal(text, np.float32),
    'mask': np.ones((batch, chunks), np.float32),
    'shots': np.tile(shots_N, (batch, 1)),
  }


if __name__ == '__main__':
  define_flags()
  command.run(main)
