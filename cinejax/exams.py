"""What a director is put through: story films, in batches, scored.

  after_rendered   the return shot, after the rendered film (and the swapped)
  whole            all of each film
  through_codec    no film of the director's own: its codec

All batches of a run have config.eval.batch films, the last filled up by
repeating a film, so that one executable serves. `track(batches, what)`
iterates over them and shows how far it is. Figures are in the order of films.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from cinejax import takes
from cinejax.director import Director
from cinejax.evaluation import scores
from cinejax.evaluation.scores import FilmScore
from cinejax.evaluation.speed import Speed
from cinejax.film.screenplay import ChunkPrompt, chunk_prompts
from cinejax.models.codec.base import from_bytes
from cinejax.story import casting, render, world

Films = Sequence[world.StoryFilm]
Track = Callable[[Sequence[Any], str], Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class Whole:
  """Wholly generated films."""

  scores: list[FilmScore]
  videos: list[np.ndarray]  # uint8 video_TYXC
  pixel_fps: list[float | None]  # of each batch, all its films together


def cast_films(director: Director, count: int) -> list[world.StoryFilm]:
  """The first `count` films of config.eval, cast for this network's memory."""
  cfg = director.cfg
  window = cfg.memory.window_frames // cfg.film.frames_per_chunk
  return [
    casting.cast(cfg.eval.kind, cfg.eval.seed, i, cfg.dit.layers, window)
    for i in range(count)
  ]


def encode(director: Director, films: Films, track: Track) -> list[np.ndarray]:
  """Latents [N F, Y, X, C] of each film, rendered."""
  encode_fn = jax.jit(
    lambda params, video: director.codec.encode(params, from_bytes(video))
  )
  longest = max(film.chunks for film in films)
  frames = director.timeline.pixel_frames(longest)
  latents = []
  for group in track(_batches(films, director), _bar(director, 'rendering')):
    # What comes after a film changes nothing in it: codecs are causal.
    videos = [_lengthen(video, frames) for video in _render(director, group)]
    z_BFYXC = encode_fn(director.codec_params, np.stack(videos))
    latents += list(np.asarray(z_BFYXC))
  return [
    z_FYXC[: director.timeline.latent_frames(film.chunks)]
    for z_FYXC, film in zip(latents, films, strict=False)
  ]


def after_rendered(
  director: Director, films: Films, swap: bool, track: Track
) -> list[FilmScore]:
  """Each film's return shot after its rendered past.

  With `swap`, once more after a past in which she wears another look, from
  the same noise.
  """
  pasts_of = [films, [scores.swap(film) for film in films]][: 1 + swap]
  given = [film for version in pasts_of for film in version]
  latents = encode(director, given, track)
  pasts = [
    _past(director, film, z_FYXC, _seed(director, i % len(films)))
    for i, (film, z_FYXC) in enumerate(zip(given, latents, strict=True))
  ]
  commit_fn = takes.make_commit(director)
  # Neighbours have pasts of much the same length: little is padding.
  order = sorted(range(len(pasts)), key=lambda i: pasts[i].start)
  shot = {}
  for group in track(_batches(order, director), _bar(director, 'return shots')):
    made = takes.shoot(director, commit_fn, [pasts[i] for i in group])
    shot.update(zip(group, made, strict=True))
  frames = director.cfg.film.frames_per_chunk
  found = [
    scores.score_given(film, shot[i].video_TYXC, shot[i].frame_JLR, frames)
    for i, film in enumerate(films)
  ]
  for i, film in enumerate(given[len(films) :]):
    video_TYXC = shot[len(films) + i].video_TYXC
    found[i] |= scores.score_swapped(film, video_TYXC)
  return found


def whole(director: Director, films: Films, track: Track) -> Whole:
  """Every film from its first chunk to its last."""
  order = sorted(range(len(films)), key=lambda i: films[i].chunks)
  videos, rates = {}, []
  for group in track(_batches(order, director), _bar(director, 'whole films')):
    speed, chunks = Speed(), []
    said = [_prompts(director, films[i]) for i in group]
    seeds = [_seed(director, i) for i in group]
    for video_BTYXC in takes.roll(director, said, seeds):
      speed.mark(video_BTYXC.shape[0] * video_BTYXC.shape[1])
      chunks.append(video_BTYXC)
    rates.append(speed.pixel_fps)
    for i, video_TYXC in zip(group, np.concatenate(chunks, 1), strict=True):
      frames = director.timeline.pixel_frames(films[i].chunks)
      videos[i] = video_TYXC[:frames]
  found = [
    scores.score_generated(film, videos[i], director.timeline)
    for i, film in enumerate(films)
  ]
  return Whole(found, [videos[i] for i in range(len(films))], rates)


def through_codec(
  director: Director, films: Films, track: Track
) -> list[FilmScore]:
  """Rendered films, as they are and encoded and decoded."""
  latents = encode(director, films, track)
  longest = max(map(len, latents))
  found = {}
  for group in track(_batches(range(len(films)), director), 'codec'):
    z_BFYXC = np.stack([_lengthen(latents[i], longest) for i in group])
    chunks = np.split(
      z_BFYXC, longest // director.cfg.film.frames_per_chunk, axis=1
    )
    coded_BTYXC = np.concatenate(list(director.decode(chunks)), 1)
    clean = _render(director, [films[i] for i in group])
    for i, clean_TYXC, coded_TYXC in zip(
      group, clean, coded_BTYXC, strict=True
    ):
      coded_TYXC = coded_TYXC[: len(clean_TYXC)]
      found[i] = scores.score_codec(
        films[i], clean_TYXC, coded_TYXC, director.timeline
      )
  return [found[i] for i in range(len(films))]


def _batches(items: Sequence[Any], director: Director) -> list[list[Any]]:
  size = director.cfg.eval.batch
  groups = [list(items[i : i + size]) for i in range(0, len(items), size)]
  groups[-1] += groups[-1][-1:] * (size - len(groups[-1]))
  return groups


def _render(director: Director, films: Films) -> list[np.ndarray]:
  line = director.timeline
  return render.render_batch(films, line.frames_per_chunk, line.stride)


def _lengthen(video: np.ndarray, frames: int) -> np.ndarray:
  """Its last frame held, for `frames` in all."""
  return video[np.minimum(np.arange(frames), len(video) - 1)]


def _prompts(
  director: Director, film: world.StoryFilm
) -> tuple[ChunkPrompt, ...]:
  return chunk_prompts(
    film.screenplay(),
    director.cfg.film.cut_prefix,
    director.timeline.chunk_secs,
  )


def _past(
  director: Director, film: world.StoryFilm, z_FYXC: np.ndarray, seed: int
) -> takes.Past:
  _, start, chunks = scores.return_shot(film)
  return takes.Past(_prompts(director, film), z_FYXC, start, chunks, seed)


def _bar(director: Director, what: str) -> str:
  return f'{director.cfg.memory.policy}: {what}'


def _seed(director: Director, film: int) -> int:
  """Of the noise of a film."""
  return director.cfg.eval.seed + film
