"""Generates batches of films, or single shots that follow given films.

The films of a batch may differ in length: their last prompts are held, and
given films and shots are padded, to the longest one; the surplus is generated
and discarded. The noise and the context of a film are its own, so that it does
not depend on the other films of its batch.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.speed import SpeedMeter
from cinejax.directing.cast import GivenPicture
from cinejax.directing.director import Director
from cinejax.film.screenplay import ChunkPrompt
from cinejax.memory import bank as bank_lib
from cinejax.rollout import host_leaves
from cinejax.rollout.state import ChunkInput, RolloutState

CommitFn = Callable[..., Any]


def roll(
  director: Director,
  prompts: Sequence[Sequence[ChunkPrompt]],
  seeds: Sequence[int],
  cast: Sequence[GivenPicture] = (),
) -> Iterator[np.ndarray]:
  """Generates B films.

  Args:
    director: generates them.
    prompts: of each film, chunk by chunk; shorter films hold their last one.
    seeds: of each film's noise.
    cast: pictures that the memory of the films begins with.

  Returns:
    An iterator over the frames, uint8 [B, T, Y, X, 3] of each chunk.
  """
  longest = max(map(len, prompts))
  padded = [hold_last_prompt(film, longest) for film in prompts]
  return director.roll(zip(*padded, strict=True), seeds, cast=cast)


def collect_frames(
  file: Any, chunks: Iterable[np.ndarray], count: int, frames: int
) -> tuple[np.ndarray, float | None]:
  """Collects the frames of B films in an array on disk.

  Args:
    file: open for writing and reading; the array exists as long as it does.
    chunks: uint8 [B, T, Y, X, 3] of each chunk.
    count: B.
    frames: the number of frames of all chunks.

  Returns:
    The array [B, T, Y, X, 3] of all frames, and pixel_fps (core/speed.py).
  """
  speed, video_BTYXC, start = SpeedMeter(), None, 0
  for chunk_BTYXC in chunks:
    if video_BTYXC is None:
      shape = (count, frames, *chunk_BTYXC.shape[2:])
      video_BTYXC = np.memmap(file, np.uint8, 'w+', shape=shape)
    stop = start + chunk_BTYXC.shape[1]
    video_BTYXC[:, start:stop] = chunk_BTYXC
    speed.mark(count * (stop - start))
    start = stop
  return video_BTYXC, speed.pixel_fps


def hold_last_prompt(
  prompts: Sequence[ChunkPrompt], chunks: int
) -> tuple[ChunkPrompt, ...]:
  """The prompts of `chunks` chunks: `prompts`, then their last one."""
  last = prompts[-1]._replace(cut=False)
  return (*prompts, *[last] * (chunks - len(prompts)))


@dataclasses.dataclass(frozen=True, eq=False)
class GivenPast:
  """A film that is given up to a shot, which is to be generated.

  The shot may be the first one, so that nothing is given.
  """

  prompts: tuple[ChunkPrompt, ...]  # of the whole film
  latents_FYXC: np.ndarray  # of at least the first `start` chunks
  start: int  # first chunk of the shot
  chunks: int  # of the shot
  seed: int


class GeneratedShot(NamedTuple):
  video_TYXC: np.ndarray  # uint8
  frame_JLR: np.ndarray  # latent frames that its first chunk routed


def make_commit(director: Director) -> CommitFn:
  """Makes a commit that leaves some films of the batch as they are.

  Returns:
    commit(params, state, chunk, latents_BFYXC, more_B) -> state, jitted: like
    Director.commit_fn, but films whose `more_B` is False do not change. The
    state is donated.
  """
  one, two = (
    jax.eval_shape(lambda count=count: director.begin(range(count)))
    for count in (1, 2)
  )
  axes = jax.tree.map(_first_difference, one, two)

  def commit(params, state, chunk, latents_BFYXC, more_B):
    def choose(path, axis, new, old):
      if host_leaves.is_archived(tree_lib.path_name(path)):
        return new
      shape = [-1 if i == axis else 1 for i in range(new.ndim)]
      return jnp.where(more_B.reshape(shape), new, old)

    # A film with an empty bank moves nothing to its archive.
    before = jax.tree_util.tree_map_with_path(
      choose, axes, state, _without_frames(state)
    )
    after = director.step.commit(params, before, chunk, latents_BFYXC)
    return jax.tree_util.tree_map_with_path(choose, axes, after, state)

  return jax.jit(commit, donate_argnums=1)


def _without_frames(state: RolloutState) -> RolloutState:
  return state.replace(
    bank=bank_lib.emptied(state.bank),
    negative=state.negative and bank_lib.emptied(state.negative),
  )


def _first_difference(one: jax.Array, two: jax.Array) -> int:
  """The axis of films, in which batches of one and two films differ."""
  return [a != b for a, b in zip(one.shape, two.shape, strict=True)].index(True)


def generate_shots(
  director: Director,
  commit_fn: CommitFn,
  pasts: Sequence[GivenPast],
  cast: Sequence[GivenPicture] = (),
) -> list[GeneratedShot]:
  """Generates the shots that follow given films, as one batch.

  Args:
    director: of a config whose chunks are committed separately
      (config.rollout.commit).
    commit_fn: from `make_commit`.
    pasts: the given films.
    cast: pictures that the memory of the films begins with.
  """
  frames = director.cfg.film.frames_per_chunk
  state = director.admit(director.begin([past.seed for past in pasts]), cast)
  for chunk in range(max(past.start for past in pasts)):
    numbers = [max(0, min(chunk, past.start - 1)) for past in pasts]
    state = commit_fn(
      director.params,
      state,
      _inputs(director, pasts, numbers),
      jnp.stack(
        [
          past.latents_FYXC[n * frames : (n + 1) * frames]
          for past, n in zip(pasts, numbers, strict=True)
        ]
      ),
      jnp.asarray([chunk < past.start for past in pasts]),
    )
  inputs = (
    _inputs(director, pasts, [past.start + chunk for past in pasts])
    for chunk in range(max(past.chunks for past in pasts))
  )
  outputs = [output for _, output in director.stream(state, inputs)]
  z_BFYXC = np.concatenate([np.asarray(o.latents_BFYXC) for o in outputs], 1)
  frame_BJLR = np.moveaxis(np.asarray(outputs[0].frame_JLBR), 2, 0)
  videos = _decode_shots(director, pasts, z_BFYXC)
  return [GeneratedShot(*pair) for pair in zip(videos, frame_BJLR, strict=True)]


def _inputs(
  director: Director, pasts: Sequence[GivenPast], chunks: Sequence[int]
) -> ChunkInput:
  """The input for the given chunk of each film."""
  return director.chunk_input(
    [
      hold_last_prompt(past.prompts, n + 1)[n]
      for past, n in zip(pasts, chunks, strict=True)
    ]
  )


def _decode_shots(
  director: Director, pasts: Sequence[GivenPast], shots_BFYXC: np.ndarray
) -> list[np.ndarray]:
  """Decodes each shot after its given film, and returns the shot alone."""
  frames = director.cfg.film.frames_per_chunk
  films = [
    np.concatenate([past.latents_FYXC[: past.start * frames], shot_FYXC])
    for past, shot_FYXC in zip(pasts, shots_BFYXC, strict=True)
  ]
  longest = max(map(len, films))
  z_BFYXC = np.stack(
    [film[np.minimum(np.arange(longest), len(film) - 1)] for film in films]
  )
  chunks = np.split(z_BFYXC, longest // frames, axis=1)
  video_BTYXC = np.concatenate(
    list(director.decode(map(jnp.asarray, chunks))), 1
  )
  first_pixel = director.timeline.chunk_start_pixel
  return [
    video_TYXC[first_pixel(past.start) : first_pixel(past.start + past.chunks)]
    for past, video_TYXC in zip(pasts, video_BTYXC, strict=True)
  ]
