"""Begins a film with a given image, or continues a given clip.

A clip is trimmed to its last whole chunks, which are committed as if they had
been generated: with F frames in a chunk and temporal stride s, n chunks are
s (n F - 1) + 1 pixel frames (film/timeline.py). An image is one latent frame.
With F = 1 it fills a chunk and is committed; otherwise it is held as the first
frame of the first chunk while the other frames are denoised.

Images are scaled until they fill the frame of the film, and cropped evenly.
"""

import dataclasses
import os

import jax
import numpy as np
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film import media
from cinejax.film.pictures import fill_frame, read_picture
from cinejax.film.screenplay import Film, Segment


def from_flags(
  director: Director, image: str | None, video: str | None
) -> jax.Array | None:
  """The latents of an image or a video, with which every film begins.

  None if neither is given. Raises UserError as the functions below do.
  """
  if image:
    return from_image(director, image)
  return from_video(director, video) if video else None


def from_image(director: Director, path: str | os.PathLike) -> jax.Array:
  """The latent [1, 1, Y, X, C] of an image file.

  Raises UserError if it cannot be read (film/pictures.py) or is too narrow.
  """
  name, film = f'--image={path}', director.cfg.film
  image = read_picture(path, name)
  return _encode(
    director, fill_frame(image, film.height, film.width, name)[None]
  )


def from_video(director: Director, path: str | os.PathLike) -> jax.Array:
  """The latents [1, N F, Y, X, C] of the last N chunks of a video file.

  Raises UserError if it cannot be read or is shorter than a chunk.
  """
  timeline, film = director.timeline, director.cfg.film
  frames = [
    fill_frame(
      Image.fromarray(frame_YXC), film.height, film.width, f'--video={path}'
    )
    for frame_YXC in media.read_frames(path, fps=film.fps)
  ]
  chunks = timeline.whole_chunks_in(len(frames))
  if not chunks:
    raise UserError(
      f'--video={path} has {len(frames)} frames at {timeline.fps:g} a second; '
      f'a chunk needs {timeline.pixel_frames(1)}, so give a longer one'
    )
  return _encode(director, np.stack(frames[-timeline.pixel_frames(chunks) :]))


def given_chunks(director: Director, given_BFYXC: jax.Array | None) -> int:
  """The number of whole chunks that are given, and not generated."""
  if given_BFYXC is None:
    return 0
  return given_BFYXC.shape[1] // director.cfg.film.frames_per_chunk


def with_given_chunks(film: Film, chunks: int) -> Film:
  """The film after `chunks` given chunks, which get its first prompt."""
  if not chunks:
    return film
  first, *rest = film.segments
  given = Segment(
    first.prompt,
    chunks=chunks,
    cut=first.cut,
    global_prompt=first.global_prompt,
  )
  first = dataclasses.replace(first, cut=False)
  return dataclasses.replace(film, segments=(given, first, *rest))


def _encode(director: Director, video_TYXC: np.ndarray) -> jax.Array:
  return director.encode_fn(director.codec_params, video_TYXC[None])
