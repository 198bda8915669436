"""Story films without end, cast when they are asked for.

A film is handed out as the states of its pixel frames, a few numbers each, and
painted and encoded on the device inside the update that trains on it
(`make_painter`). So nothing is stored, no film is seen twice, and the stream is
a pure function of its seed and of how many films came before.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.film.config import FilmConfig
from cinejax.film.screenplay import chunk_prompts
from cinejax.film.timeline import Timeline
from cinejax.models.codec.base import Codec, from_bytes
from cinejax.story import casting, motion, render, world

Batch = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StoryFilms:
  """The films numbered 0, 1, 2 ... of a mixture of kinds.

  Film i is of a kind that is drawn for it, and has the number i within its
  kind. In chunks of fewer latent frames than story films are cast in, a chunk
  of the cast is a chunk of the film: its shots are shorter, not its chunks
  more.
  """

  kinds: tuple[tuple[str, float], ...]  # (kind of casting.KINDS, share)
  seed: int
  chunks: int  # N; longer films lose their end, shorter ones are padded
  film: FilmConfig
  stride: int  # pixel frames a latent frame
  encode_text: Callable[[Sequence[str]], np.ndarray]

  def cast(self, index: int) -> world.StoryFilm:
    """Film `index`, before it is cut or padded."""
    names, shares = zip(*self.kinds, strict=True)
    rng = np.random.default_rng([self.seed, index])
    kind = names[rng.choice(len(names), p=np.array(shares) / sum(shares))]
    return casting.cast(kind, self.seed, index)

  def __getitem__(self, index: int) -> Batch:
    """One row of a batch: `text`, `mask` and `shots` as of the other films
    (data/pipeline.py), and `states`, of motion.Frames, [pixel frames]."""
    cast = self.cast(index)
    timeline = Timeline(self.film.frames_per_chunk, self.stride, self.film.fps)
    prompts = chunk_prompts(
      cast.screenplay(), self.film.cut_prefix, timeline.chunk_secs
    )[: self.chunks]
    states = motion.describe(
      cast,
      self.film.frames_per_chunk,
      self.stride,
      frames=timeline.pixel_frames(self.chunks),
    )
    missing = self.chunks - len(prompts)
    text_NWD = self.encode_text([prompt.prompt for prompt in prompts])
    return {
      'text': np.pad(text_NWD, ((0, missing), (0, 0), (0, 0))),
      'mask': np.repeat(np.float32([1, 0]), [len(prompts), missing]),
      'shots': np.array(
        [prompt.shot for prompt in prompts] + missing * [-1], np.int32
      ),
      'states': states._asdict(),
    }

  def __len__(self) -> int:
    """More than will ever be asked for."""
    return 2**50


def make_painter(
  codec: Codec, appearance_weight: float
) -> Callable[[Any, Batch], Batch]:
  """-> paint(codec params, batch) -> the batch with `latents` and `weight` in
  the place of `states`; traceable.

  `latents` are float32 [B, N F, Y, X, C]. `weight` [B, N F, Y, X, 1] is the
  weight of the loss in a latent cell: `appearance_weight` where a character
  covers all of its pixels, 1 where none. Appearances are a small share of the
  picture, and all that recall is about.
  """

  def one(params, states):
    video_TYXC, cover_TYX = render.paint_with_cover(motion.Frames(**states))
    latents = codec.encode(params, from_bytes(video_TYXC)[None])[0]
    weight = 1 + (appearance_weight - 1) * _pooled(cover_TYX, codec)
    return latents.astype(jnp.float32), weight[..., None]

  def paint(params, batch):
    states = batch['states']
    latents, weight = jax.lax.map(lambda x: one(params, x), states)
    rest = {name: x for name, x in batch.items() if name != 'states'}
    return rest | {'latents': latents, 'weight': weight}

  return paint


def _pooled(cover_TYX: jax.Array, codec: Codec) -> jax.Array:
  """Means over the pixels of latent cells, the first frame's alone."""
  time, space = codec.temporal_stride, codec.spatial_stride
  first, rest = cover_TYX[:1], cover_TYX[1:]
  rows, columns = (size // space for size in cover_TYX.shape[1:])
  frames = jnp.concatenate(
    [first, rest.reshape(-1, time, *rest.shape[1:]).mean(1)]
  )
  return frames.reshape(-1, rows, space, columns, space).mean((2, 4))
