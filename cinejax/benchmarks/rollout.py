"""How fast films are rolled out, in how much memory, and how evenly.

With B films, T tokens a chunk and s the median seconds of a chunk

  tokens_per_sec = B T / s                                                 (1)
  pixel_fps      = B (pixel frames of a chunk) / s                         (2)

A token counts once, however many passes it takes. A first call is never
counted; compile_secs is tracing, lowering and compiling.
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
from cinejax.core.speed import Speed
from cinejax.directing.director import Director
from cinejax.film.screenplay import chunk_prompts
from cinejax.rollout.state import ChunkInput
from cinejax.story.casting import cast

Row = dict[str, Any]

SHORTEST = 50  # chunks of a stream whose early and late do not overlap
_EARLY = slice(10, 30)  # chunks 11 to 30
_LATE = slice(-20, None)


def rollout_row(director: Director, batch: int, repeats: int) -> Row:
  """chunk_ms of one compiled scan of config.rollout.chunks_per_call chunks.

  `pixel_fps` is eq. (2); `pixel_fps_codec` with frames decoded and fetched.
  `mfu` is the part of the bfloat16 products of the devices it runs on that the
  DiT's are, null where either is not known.
  """
  cfg, scan = director.cfg, director.cfg.rollout.chunks_per_call
  chunks = jax.tree.map(
    lambda *leaves: jnp.stack(leaves),
    *itertools.islice(_asked(director, batch), scan),
  )
  params, state = director.params, director.begin(range(batch))
  peak = peak_secs(director, state, chunks)
  compiled, compile_secs = compile_timed(
    director.scan_fn, params, state, chunks
  )
  calls = time_calls(
    lambda state: compiled(params, state, chunks), state, repeats
  )
  secs = [call / scan for call in calls]

  def latents() -> Iterator[jax.Array]:
    state = director.begin(range(batch))
    while True:
      state, made = compiled(params, state, chunks)
      yield from made.latents_BFYXC

  speed = Speed()
  made = 2 + scan * -(-repeats // scan)
  for video_BTYXC in itertools.islice(director.decode(latents()), made):
    speed.mark(video_BTYXC.shape[0] * video_BTYXC.shape[1])
  frames = batch * director.timeline.chunk_pixels
  return {
    'batch': batch,
    **_rolled(director),
    'compile_secs': compile_secs,
    'chunk_ms': spread(secs),
    'mfu': peak and peak / statistics.median(calls),
    'tokens_per_sec': batch * chunk_tokens(cfg) / statistics.median(secs),
    'pixel_fps': frames / statistics.median(secs),
    'pixel_fps_codec': speed.pixel_fps,
    **ran(cfg, compiled),
  }


def first_row(director: Director, batch: int, repeats: int) -> Row:
  """first_ms, from a prompt to the first frames of its film, fetched.

  `first_pixel_frames` is how many those are: all of the first chunk's. The
  bank is made, and emptied, in that time.
  """

  def first(asked: list[ChunkInput]) -> tuple[list[ChunkInput], np.ndarray]:
    made = director.stream(director.begin(range(batch)), asked)
    latents = (output.latents_BFYXC for _, output in made)
    return asked, next(director.decode(latents))

  asked = [next(_asked(director, batch))]
  secs = time_calls(first, asked, repeats)
  return {
    'batch': batch,
    **_rolled(director),
    'first_ms': spread(secs),
    'first_pixel_frames': director.timeline.pixel_frames(1),
    **ran(director.cfg),
  }


def peak_secs(
  director: Director, state: Any, chunks: ChunkInput
) -> float | None:
  """What a call of the scan would take at the peak; None: unknown.

  That is the peak of the devices that it runs on: one, or the director's mesh.
  Not of a film's first call, whose first chunk may take more steps.
  """
  chip = topology.chip_of(jax.devices()[0].device_kind)
  if chip is None:
    return None
  cfg = director.cfg
  cfg = dataclasses.replace(
    cfg,
    mesh=MeshConfig(1, 1, 1, 1),  # counted of whole arrays
    dit=dataclasses.replace(cfg.dit, attention='xla'),
    # else the steps are a loop without a known end
    rollout=dataclasses.replace(cfg.rollout, first_steps=0),
  )
  scan_fn = dataclasses.replace(director, cfg=cfg).scan_fn
  products = flops.count(scan_fn, director.params, state, chunks)
  devices = director.mesh.size if director.mesh else 1
  return products / (chip.flops * devices)


def stream_row(director: Director, batch: int, chunks: int) -> Row:
  """chunk_ms, codec included, early and late in films of `chunks` chunks.

  Also how many programs were compiled for chunks 1 and 2, and for all after
  them, and the bytes of the banks at chunk 3 and at most after it.
  """
  bank_bytes, compiled = [], []
  marks = [time.perf_counter()]

  def latents(counter: resources.Compiles) -> Iterator[jax.Array]:
    asked = itertools.islice(_asked(director, batch), chunks)
    for state, made in director.stream(director.begin(range(batch)), asked):
      bank_bytes.append(resources.tree_bytes((state.bank, state.negative)))
      yield made.latents_BFYXC
      compiled.append(counter.count)

  console = Console(stderr=True)
  bar = Progress(console=console, disable=not console.is_terminal)
  with bar, resources.compiles() as counter:
    for _ in bar.track(director.decode(latents(counter)), total=chunks):
      marks.append(time.perf_counter())
  secs = np.diff(marks)
  return {
    'batch': batch,
    'chunks': chunks,
    **_rolled(director),
    'chunk_ms_11_to_30': spread(secs[_EARLY]),
    f'chunk_ms_{chunks - 19}_to_{chunks}': spread(secs[_LATE]),
    'compiles_to_chunk_2': compiled[1],
    'compiles_from_chunk_3': compiled[-1] - compiled[1],
    'bank_bytes_chunk_3': bank_bytes[2],
    'bank_bytes_most_after': max(bank_bytes[3:]),
    **ran(director.cfg),
  }


def compile_timed(fn: Any, *args: Any) -> tuple[jax.stages.Compiled, float]:
  """The executable of a jitted function, and the seconds it took."""
  start = time.perf_counter()
  compiled = fn.lower(*args).compile()
  return compiled, time.perf_counter() - start


def time_calls(
  call: Callable[[Any], Any], state: Any, repeats: int
) -> list[float]:
  """Seconds of each call(state) -> (state, result), after one not counted."""
  secs = []
  for _ in range(1 + repeats):
    start = time.perf_counter()
    state, _ = jax.block_until_ready(call(state))
    secs.append(time.perf_counter() - start)
  return secs[1:]


def spread(secs: Sequence[float]) -> dict[str, float]:
  """In milliseconds."""
  return {
    'median': 1e3 * float(np.median(secs)),
    'min': 1e3 * float(min(secs)),
    'max': 1e3 * float(max(secs)),
    'n': len(secs),
  }


def chunk_tokens(cfg: Config) -> int:
  """T."""
  height, width, _ = cfg.frame_shape
  _, rows, columns = cfg.dit.patch
  tokens = (height // rows) * (width // columns)
  return cfg.film.frames_per_chunk * tokens


def ran(cfg: Config, compiled: jax.stages.Compiled | None = None) -> Row:
  """What every row ends with: memory, precision, device, versions."""
  return (
    resources.peak_memory(compiled)
    | {'compute_dtype': cfg.dit.compute_dtype}
    | resources.facts()
  )


def _rolled(director: Director) -> Row:
  """What was rolled out, and by which memory."""
  told = {
    'rollout': 'sampler steps guidance commit chunks_per_call',
    'memory': 'policy window_frames routed_frames bank_frames',
    'film': 'height width frames_per_chunk',
  }
  row = {
    name: getattr(getattr(director.cfg, section), name)
    for section, names in told.items()
    for name in names.split()
  }
  row |= {'codec': director.cfg.codec.name}
  return row | {'parameters': tree_lib.count(director.params)}


def _asked(director: Director, batch: int) -> Iterator[ChunkInput]:
  """The prompts and cuts of a long story film, over and over."""
  cfg = director.cfg
  said = chunk_prompts(
    cast('long', cfg.eval.seed, 0).screenplay(),
    cfg.film.cut_prefix,
    director.timeline.chunk_secs,
  )
  return (director.chunk_input([p] * batch) for p in itertools.cycle(said))
