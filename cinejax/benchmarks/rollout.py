"""Measures the speed and memory of rollouts.

With B films, T tokens per chunk and s the median seconds of a chunk

  tokens_per_sec = B T / s                                                 (1)
  pixel_fps      = B (pixel frames of a chunk) / s                         (2)

A token counts once, however many passes it takes. The first call of a program
is never timed, nor are the first chunks of a film, which have fewer frames in
their context; compile_secs is the time of tracing, lowering and compiling.
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import Progress

from cinejax.config import Config
from cinejax.core import flops, resources, topology
from cinejax.core import tree as tree_lib
from cinejax.core.config import MeshConfig
from cinejax.core.speed import SpeedMeter
from cinejax.directing.director import Director
from cinejax.film.screenplay import chunk_prompts
from cinejax.rollout.state import ChunkInput
from cinejax.story.casting import cast

Measurement = dict[str, Any]  # one line of JSON

SHORTEST = 50  # chunks of a stream; in fewer, early and late would overlap
_EARLY = slice(10, 30)  # chunks 11 to 30
_LATE = slice(-20, None)


def measure_rollout(
  director: Director, batch: int, repeats: int
) -> Measurement:
  """Times one compiled scan of config.rollout.chunks_per_call chunks.

  `pixel_fps` is eq. (2); `pixel_fps_codec` includes decoding frames and copying
  them to the host. `mfu` is the share of the devices' bfloat16 peak that the
  matrix products of the DiT use; None if the peak is not known. `chunk_cpu_ms`
  is the time of the host's processors.
  """
  cfg, scan = director.cfg, director.cfg.rollout.chunks_per_call
  chunks = jax.tree.map(
    lambda *leaves: jnp.stack(leaves),
    *itertools.islice(_chunk_inputs(director, batch), scan),
  )
  params, state = director.params, director.begin(range(batch))
  peak = peak_secs(director, state, chunks)
  compiled, compile_secs = compile_timed(
    director.scan_fn, params, state, chunks
  )
  seen = cfg.memory.window_frames + cfg.memory.context_frames
  untimed = -(-seen // (cfg.film.frames_per_chunk * scan))
  calls, processor = np.transpose(
    time_calls(
      lambda state: compiled(params, state, chunks),
      state,
      repeats,
      untimed,
      wall_and_processor,
    )
  )
  secs = [call / scan for call in calls]

  def latents() -> Iterator[jax.Array]:
    state = director.begin(range(batch))
    while True:
      state, output = compiled(params, state, chunks)
      yield from output.latents_BFYXC

  video = director.decode(latents())
  next(itertools.islice(video, untimed * scan, None))
  speed = SpeedMeter()
  count = 2 + scan * -(-repeats // scan)
  for video_BTYXC in itertools.islice(video, count):
    speed.mark(video_BTYXC.shape[0] * video_BTYXC.shape[1])
  frames = batch * director.timeline.chunk_pixels
  return {
    'batch': batch,
    **_settings(director),
    'compile_secs': compile_secs,
    'chunk_ms': spread_ms(secs),
    'chunk_cpu_ms': spread_ms(processor / scan),
    'mfu': peak and peak / statistics.median(calls),
    'tokens_per_sec': batch * chunk_tokens(cfg) / statistics.median(secs),
    'pixel_fps': frames / statistics.median(secs),
    'pixel_fps_codec': speed.pixel_fps,
    **environment(cfg, compiled),
  }


def measure_first(director: Director, batch: int, repeats: int) -> Measurement:
  """Times a prompt until the first frames of its film are on the host.

  `first_pixel_frames` is their number, all frames of the first chunk. The time
  includes the creation of an empty bank.
  """

  def first(chunks: list[ChunkInput]) -> tuple[list[ChunkInput], np.ndarray]:
    latents = director.latents(director.begin(range(batch)), chunks)
    # One alone, so that no commit runs while the next call is timed.
    return chunks, next(director.decode(itertools.islice(latents, 1)))

  chunks = [next(_chunk_inputs(director, batch))]
  secs = time_calls(first, chunks, repeats)
  return {
    'batch': batch,
    **_settings(director),
    'first_ms': spread_ms(secs),
    'first_pixel_frames': director.timeline.pixel_frames(1),
    **environment(director.cfg),
  }


def peak_secs(
  director: Director, state: Any, chunks: ChunkInput
) -> float | None:
  """Seconds of a call of the scan at the devices' peak; None if unknown.

  The devices are those of the director's mesh, or one without a mesh. The first
  call of a film, whose first chunk may take more steps, is not meant.
  """
  chip = topology.chip_of(jax.devices()[0].device_kind)
  if chip is None:
    return None
  cfg = director.cfg
  cfg = dataclasses.replace(
    cfg,
    mesh=MeshConfig(1, 1, 1, 1),  # operations are counted for whole arrays
    dit=dataclasses.replace(cfg.dit, attention='xla'),
    # With first_steps the steps are a loop whose length is not known.
    rollout=dataclasses.replace(cfg.rollout, first_steps=0),
  )
  scan_fn = dataclasses.replace(director, cfg=cfg).scan_fn
  products = flops.count(scan_fn, director.params, state, chunks)
  devices = director.mesh.size if director.mesh else 1
  return products / (chip.flops * devices)


def measure_stream(director: Director, batch: int, chunks: int) -> Measurement:
  """Times chunks, codec included, early and late in films of `chunks` chunks.

  Also counts the programs compiled for chunks 1 and 2 and for all later ones,
  and the bytes of the banks at chunk 3 and at most afterwards.
  """
  bank_bytes, compiled = [], []
  marks = [time.perf_counter()]

  def latents(counter: resources.CompileCounter) -> Iterator[jax.Array]:
    inputs = itertools.islice(_chunk_inputs(director, batch), chunks)
    for state, output in director.stream(director.begin(range(batch)), inputs):
      bank_bytes.append(resources.tree_bytes((state.bank, state.negative)))
      yield output.latents_BFYXC
      compiled.append(counter.count)

  console = Console(stderr=True)
  bar = Progress(console=console, disable=not console.is_terminal)
  with bar, resources.count_compiles() as counter:
    for _ in bar.track(director.decode(latents(counter)), total=chunks):
      marks.append(time.perf_counter())
  secs = np.diff(marks)
  return {
    'batch': batch,
    'chunks': chunks,
    **_settings(director),
    'chunk_ms_11_to_30': spread_ms(secs[_EARLY]),
    f'chunk_ms_{chunks - 19}_to_{chunks}': spread_ms(secs[_LATE]),
    'compiles_to_chunk_2': compiled[1],
    'compiles_from_chunk_3': compiled[-1] - compiled[1],
    'bank_bytes_chunk_3': bank_bytes[2],
    'bank_bytes_max_after': max(bank_bytes[3:]),
    **environment(director.cfg),
  }


def compile_timed(fn: Any, *args: Any) -> tuple[jax.stages.Compiled, float]:
  """The executable of a jitted function, and the seconds of compiling it."""
  start = time.perf_counter()
  compiled = fn.lower(*args).compile()
  return compiled, time.perf_counter() - start


def time_calls(
  call: Callable[[Any], Any],
  state: Any,
  repeats: int,
  untimed: int = 1,
  clock: Callable[[], Any] = time.perf_counter,
) -> list[Any]:
  """Seconds of each call(state) -> (state, result), after `untimed` calls."""
  secs = []
  for _ in range(untimed + repeats):
    start = clock()
    state, _ = jax.block_until_ready(call(state))
    secs.append(clock() - start)
  return secs[untimed:]


def wall_and_processor() -> np.ndarray:
  """A clock: seconds that have passed, and that this process has computed.

  Other programs on the same cores slow the first and hardly the second, which
  counts all threads of the process.
  """
  return np.array([time.perf_counter(), time.process_time()])


def spread_ms(secs: Sequence[float]) -> dict[str, float]:
  """{median, min, max, n} of times in seconds, in milliseconds."""
  return {
    'median': 1e3 * float(np.median(secs)),
    'min': 1e3 * float(min(secs)),
    'max': 1e3 * float(max(secs)),
    'n': len(secs),
  }


def chunk_tokens(cfg: Config) -> int:
  """T, the tokens of a chunk of one film."""
  height, width, _ = cfg.frame_shape
  _, rows, columns = cfg.dit.patch
  tokens = (height // rows) * (width // columns)
  return cfg.film.frames_per_chunk * tokens


def environment(
  cfg: Config, compiled: jax.stages.Compiled | None = None
) -> Measurement:
  """Memory, precision, device and versions, with which a measurement ends."""
  return (
    resources.peak_memory(compiled)
    | {'compute_dtype': cfg.dit.compute_dtype}
    | resources.environment()
  )


def _settings(director: Director) -> Measurement:
  """What was rolled out, and with which memory."""
  keys = {
    'rollout': 'sampler steps guidance commit chunks_per_call',
    'memory': 'policy window_frames routed_frames bank_frames archived_frames',
    'film': 'height width frames_per_chunk',
    'dit': 'precision unroll',
  }
  row = {
    name: getattr(getattr(director.cfg, section), name)
    for section, names in keys.items()
    for name in names.split()
  }
  row |= {'codec': director.cfg.codec.name}
  return row | {'parameters': tree_lib.count(director.params)}


def _chunk_inputs(director: Director, batch: int) -> Iterator[ChunkInput]:
  """Yields the prompts and cuts of a long story film, again and again."""
  cfg = director.cfg
  prompts = chunk_prompts(
    cast('long', cfg.eval.seed, 0).screenplay(),
    cfg.film.cut_prefix,
    director.timeline.chunk_secs,
  )
  return (director.chunk_input([p] * batch) for p in itertools.cycle(prompts))
