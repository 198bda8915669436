"""Renders cast films.

`paint` is pure jax.numpy and turns states into frames: the strip of a place,
cropped to what the camera shows, and one sprite over it. Frames do not depend
on each other, so that any number of films is rendered as one sequence.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.blocks import map_in_blocks
from cinejax.story import motion, places, sprites, world

_BLOCK = 16  # frames painted at a time


def paint(states: motion.Frames) -> jax.Array:
  """Renders T states as uint8 video_TYXC; can be jitted and vmapped."""
  atlas = jnp.asarray(places.atlas())
  return jax.vmap(lambda state: _frame(atlas, state))(states)


def paint_with_cover(states: motion.Frames) -> tuple[jax.Array, jax.Array]:
  """uint8 video_TYXC of T states, and how much of each pixel a character
  covers, float32 [T, Y, X] in [0, 1].

  May be called under jit.
  """
  atlas = jnp.asarray(places.atlas())
  return map_in_blocks(
    lambda state: _frame_and_cover(atlas, state), states, _BLOCK
  )


def background(
  atlas: jax.Array, place: jax.Array, size: jax.Array, offset: jax.Array
) -> jax.Array:
  """The empty place [Y, X, 3], float, `offset` pixels into a pan."""
  steps = jnp.round(offset * places.PHASES).astype(jnp.int32)
  start = (place, size, steps % places.PHASES, 0, steps // places.PHASES, 0)
  shape = (1, 1, 1, world.HEIGHT, world.WIDTH, 3)
  return jax.lax.dynamic_slice(atlas, start, shape)[0, 0, 0]


def render(
  film: world.StoryFilm, frames_per_chunk: int = 3, stride: int = 4
) -> np.ndarray:
  """Renders a film as uint8 video_TYXC, T = stride (F N - 1) + 1."""
  return render_batch([film], frames_per_chunk, stride)[0]


def render_batch(
  films: Sequence[world.StoryFilm],
  frames_per_chunk: int = 3,
  stride: int = 4,
  block: int = _BLOCK,
) -> list[np.ndarray]:
  """Renders each film as uint8 video_TYXC, `block` frames at a time."""
  states = [motion.describe(f, frames_per_chunk, stride) for f in films]
  ends = np.cumsum([len(s.x) for s in states])
  keep = np.minimum(np.arange(-(-ends[-1] // block) * block), ends[-1] - 1)
  run = motion.Frames(
    *(np.concatenate(arrays)[keep] for arrays in zip(*states, strict=True))
  )
  blocks = [
    _paint(motion.Frames(*(array[i : i + block] for array in run)))
    for i in range(0, len(keep), block)
  ]
  video_TYXC = np.concatenate([np.asarray(b) for b in blocks])[: ends[-1]]
  return np.split(video_TYXC, ends[:-1])


def picture(film: world.StoryFilm, character: int) -> np.ndarray:
  """A still picture uint8 [Y, X, 3] of a character, standing somewhere."""
  segment = world.picture_segment(character, film.seed % len(world.PLACES))
  return render(dataclasses.replace(film, segments=(segment,), events=()))[0]


def spare_appearances(film: world.StoryFilm) -> tuple[int, ...]:
  """Appearances that no character of the film has."""
  return tuple(
    sorted(set(range(len(world.APPEARANCES))) - set(film.appearances))
  )


def swap_appearance(
  film: world.StoryFilm, character: int, appearance: int
) -> world.StoryFilm:
  """Gives `character` another appearance; everything else stays.

  Only frames that show `character` differ. Raises ValueError if another
  character has the appearance.
  """
  others = film.appearances[:character] + film.appearances[character + 1 :]
  if appearance in others:
    raise ValueError(
      f'appearance {appearance} is taken; take one of {spare_appearances(film)}'
    )
  appearances = (
    *film.appearances[:character],
    appearance,
    *film.appearances[character + 1 :],
  )
  return dataclasses.replace(film, appearances=appearances)


def _frame(atlas: jax.Array, state: motion.Frames) -> jax.Array:
  return _frame_and_cover(atlas, state)[0]


def _frame_and_cover(
  atlas: jax.Array, state: motion.Frames
) -> tuple[jax.Array, jax.Array]:
  pose = sprites.Pose(state.x, state.lift, state.step, state.gait, state.gaze)
  appearance = (state.hue, state.shape, state.pattern)
  sprite = sprites.draw(appearance, state.size, pose)
  image_YXC = sprites.compose(
    background(atlas, state.place, state.size, state.offset), sprite
  )
  image_YXC = jnp.round(255.0 * jnp.clip(image_YXC, 0.0, 1.0))
  return image_YXC.astype(jnp.uint8), sprite.cover_YX


_paint = jax.jit(paint)
