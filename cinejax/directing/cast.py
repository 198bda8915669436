"""Pictures of characters, made ready for the memory of a film.

A picture becomes a still clip of one chunk, which the codec of the film
encodes, and a prompt that names its character (config.film.cast_prompt). It is
committed before the first chunk (`Step.admit`) and takes F frames of the bank
for good.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.directing.film_codec import FilmCodec
from cinejax.film.cast import CastPicture


@dataclasses.dataclass(frozen=True, eq=False)
class GivenPicture:
  """A picture for each film of a batch, or one for all of them."""

  names: tuple[str, ...]  # of the characters
  latents_BFYXC: jax.Array  # of the still clips


def check_pictures(cfg: Config, cast: Iterable[CastPicture]) -> None:
  """Raises UserError if a picture cannot be read, or is too narrow.

  A server must not call it: it reads the files that a film names.
  """
  for one in cast:
    one.frame(cfg.film.height, cfg.film.width)


def encode_cast(
  codec: FilmCodec, cast: Sequence[CastPicture]
) -> tuple[GivenPicture, ...]:
  """Encodes the pictures of one film.

  Raises UserError if one cannot be read or is too narrow, or if there are more
  than the bank has room for.
  """
  check_count(codec.cfg, len(cast))
  film = codec.cfg.film
  return tuple(
    encode_pictures(
      codec,
      (one.name,),
      one.frame(film.height, film.width)[None],
    )
    for one in cast
  )


def encode_pictures(
  codec: FilmCodec, names: Sequence[str], image_BYXC: np.ndarray
) -> GivenPicture:
  """Encodes one picture, uint8 of the size of the film, for each of B films."""
  frames = codec.timeline.pixel_frames(1)
  video_BTYXC = np.repeat(image_BYXC[:, None], frames, 1)
  latents_BFYXC = codec.encode_fn(codec.codec_params, video_BTYXC)
  return GivenPicture(tuple(names), jnp.asarray(latents_BFYXC))


def room(cfg: Config) -> int:
  """How many pictures the bank has room for."""
  memory, frames = cfg.memory, cfg.film.frames_per_chunk
  needed = memory.window_frames + memory.routed_frames + frames
  return (memory.held_frames - needed) // frames


def check_count(cfg: Config, count: int) -> None:
  """Raises UserError if the bank has no room for so many pictures."""
  if count > room(cfg):
    frames = cfg.film.frames_per_chunk
    key = 'archive_frames' if cfg.memory.archived_frames else 'bank_frames'
    held = getattr(cfg.memory, key)
    more = held + (count - room(cfg)) * frames
    raise UserError(
      f'the cast has {count} pictures of {frames} frames each, and a film with '
      f'config.memory.{key}={held} has room for {room(cfg)}; give fewer, or '
      f'set it to {more}'
    )
