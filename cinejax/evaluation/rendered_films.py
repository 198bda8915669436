"""Story films, and pictures of their characters, as pixels and latents."""

from collections.abc import Sequence

import numpy as np

from cinejax.directing import cast as cast_lib
from cinejax.directing.film_codec import FilmCodec
from cinejax.film.timeline import Timeline
from cinejax.story import render, world


def encode(
  codec: FilmCodec, films: Sequence[world.StoryFilm], chunks: int
) -> list[np.ndarray]:
  """Latents [N F, Y, X, C] of the rendered films.

  The last frame of a film of fewer than N chunks is repeated. That does not
  change the latents of the film itself, because codecs are causal.

  Args:
    codec: encodes the frames.
    films: to render.
    chunks: N.
  """
  frames = codec.timeline.pixel_frames(chunks)
  videos = [
    video[np.minimum(np.arange(frames), len(video) - 1)]
    for video in render_films(codec.timeline, films)
  ]
  return list(np.asarray(codec.encode_fn(codec.codec_params, np.stack(videos))))


def render_films(
  timeline: Timeline, films: Sequence[world.StoryFilm]
) -> list[np.ndarray]:
  """The frames of each film, uint8 [T, Y, X, 3]."""
  return render.render_batch(films, timeline.frames_per_chunk, timeline.stride)


def encode_pictures(
  codec: FilmCodec, films: Sequence[world.StoryFilm]
) -> cast_lib.GivenPicture:
  """A picture of the character of each film's main event."""
  characters = [film.events[0].character for film in films]
  pairs = zip(films, characters, strict=True)
  return cast_lib.encode_pictures(
    codec,
    [world.CHARACTERS[character] for character in characters],
    np.stack([render.picture(*pair) for pair in pairs]),
  )
