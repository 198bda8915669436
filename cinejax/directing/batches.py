"""Films by the batch: wholly generated, or one shot after a given past.

Films of a batch need not be alike: prompts are held, and pasts and shots
padded, to the longest; what is surplus is generated and thrown away. A
film's noise and context are its own, so its company changes nothing.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.speed import SpeedMeter
from cinejax.directing.director import Director
from cinejax.film.screenplay import ChunkPrompt

CommitFn = Callable[..., Any]


def roll(
  director: Director,
  prompts: Sequence[Sequence[ChunkPrompt]],
  seeds: Sequence[int],
) -> Iterator[np.ndarray]:
  """The frames uint8 [B, T, Y, X, 3] of chunk after chunk of B films.

  `prompts` are those of each film, chunk by chunk; shorter films hold their
  last one.
  """
  longest = max(map(len, prompts))
  held = [hold_last_prompt(said, longest) for said in prompts]
  return director.roll(zip(*held, strict=True), seeds)


def collect_frames(
  file: Any, chunks: Iterable[np.ndarray], count: int, frames: int
) -> tuple[np.ndarray, float | None]:
  """Frames as they are made, as one array [B, T, Y, X, 3] on disk.

  Args:
    file: open for writing and reading; the array lives as long as it does.
    chunks: uint8 [B, T, Y, X, 3] of each chunk.
    count: B films.
    frames: of all chunks.

  Returns:
    The array, and pixel_fps (core/speed.py).
  """
  speed, video_BTYXC, at = SpeedMeter(), None, 0
  for chunk_BTYXC in chunks:
    if video_BTYXC is None:
      shape = (count, frames, *chunk_BTYXC.shape[2:])
      video_BTYXC = np.memmap(file, np.uint8, 'w+', shape=shape)
    video_BTYXC[:, at : at + chunk_BTYXC.shape[1]] = chunk_BTYXC
    at += chunk_BTYXC.shape[1]
    speed.mark(count * chunk_BTYXC.shape[1])
  return video_BTYXC, speed.pixel_fps


def hold_last_prompt(
  said: Sequence[ChunkPrompt], chunks: int
) -> tuple[ChunkPrompt, ...]:
  """`said`, its last prompt held for `chunks` chunks in all."""
  last = said[-1]._replace(cut=False)
  return (*said, *[last] * (chunks - len(said)))


@dataclasses.dataclass(frozen=True, eq=False)
class GivenPast:
  """A film that is given up to a shot which is yet to be made."""

  prompts: tuple[ChunkPrompt, ...]  # of the whole film
  latents_FYXC: np.ndarray  # of the given film, `start` chunks at least
  start: int  # first chunk of the shot, >= 1
  chunks: int  # of the shot
  seed: int


class GeneratedShot(NamedTuple):
  """The shot that was made."""

  video_TYXC: np.ndarray  # uint8
  frame_JLR: np.ndarray  # latent frames routed in its first chunk


def make_commit(director: Director) -> CommitFn:
  """-> commit(params, state, chunk, latents_BFYXC, more_B) -> state, jitted.

  Like Director.commit_fn, but films that are False in `more_B` stay as they
  were. The state is donated.
  """
  one, two = (
    jax.eval_shape(lambda count=count: director.begin(range(count)))
    for count in (1, 2)
  )
  axes = jax.tree.map(_first_difference, one, two)

  def commit(params, state, chunk, latents_BFYXC, more_B):
    after = director.step.commit(params, state, chunk, latents_BFYXC)

    def choose(axis, new, old):
      shape = [-1 if i == axis else 1 for i in range(new.ndim)]
      return jnp.where(more_B.reshape(shape), new, old)

    return jax.tree.map(choose, axes, after, state)

  return jax.jit(commit, donate_argnums=1)


def _first_difference(one: jax.Array, two: jax.Array) -> int:
  """The axis of films."""
  return [a != b for a, b in zip(one.shape, two.shape, strict=True)].index(True)


def generate_shots(
  director: Director,
  commit_fn: CommitFn,
  pasts: Sequence[GivenPast],
) -> list[GeneratedShot]:
  """The shots that follow these pasts, as one batch.

  Commits must be separate (config.rollout.commit).
  """
  frames = director.cfg.film.frames_per_chunk
  state = director.begin([past.seed for past in pasts])
  for chunk in range(max(past.start for past in pasts)):
    at = [min(chunk, past.start - 1) for past in pasts]
    state = commit_fn(
      director.params,
      state,
      _inputs(director, pasts, at),
      jnp.stack(
        [
          past.latents_FYXC[n * frames : (n + 1) * frames]
          for past, n in zip(pasts, at, strict=True)
        ]
      ),
      jnp.asarray([chunk < past.start for past in pasts]),
    )
  inputs = (
    _inputs(director, pasts, [past.start + chunk for past in pasts])
    for chunk in range(max(past.chunks for past in pasts))
  )
  made = [output for _, output in director.stream(state, inputs)]
  made_BFYXC = np.concatenate([np.asarray(o.latents_BFYXC) for o in made], 1)
  frame_BJLR = np.moveaxis(np.asarray(made[0].frame_JLBR), 2, 0)
  videos = _show(director, pasts, made_BFYXC)
  return [GeneratedShot(*pair) for pair in zip(videos, frame_BJLR, strict=True)]


def _inputs(director, pasts, at):
  return director.chunk_input(
    [
      hold_last_prompt(past.prompts, n + 1)[n]
      for past, n in zip(pasts, at, strict=True)
    ]
  )


def _show(
  director: Director, pasts: Sequence[GivenPast], made_BFYXC: np.ndarray
) -> list[np.ndarray]:
  """Decodes what was made after what was given, as one film."""
  frames = director.cfg.film.frames_per_chunk
  films = [
    np.concatenate([past.latents_FYXC[: past.start * frames], made_FYXC])
    for past, made_FYXC in zip(pasts, made_BFYXC, strict=True)
  ]
  longest = max(map(len, films))
  z_BFYXC = np.stack(
    [film[np.minimum(np.arange(longest), len(film) - 1)] for film in films]
  )
  chunks = np.split(z_BFYXC, longest // frames, axis=1)
  video_BTYXC = np.concatenate(
    list(director.decode(map(jnp.asarray, chunks))), 1
  )
  place = director.timeline.chunk_start_pixel
  return [
    video_TYXC[place(past.start) : place(past.start + past.chunks)]
    for past, video_TYXC in zip(pasts, video_BTYXC, strict=True)
  ]
