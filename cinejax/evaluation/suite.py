"""What a director is put through: films, in batches, scored.

  given      the return shot of each film, after its rendered past
  swap       the same after a past in which she wears another look
  generated  all of each film
  codec      no film of the director's own: its codec

Films are cast in the story world, or screenplays, of which there is no
rendered truth: they are only generated.

Batches have one size, the last filled up by repeating a film, so that one
executable serves. A film's noise depends on its number and the sampling seed
alone, so neither its company nor the order of batches changes it.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from cinejax.directing import batches as batches_lib
from cinejax.directing.director import Director
from cinejax.evaluation import saved_films
from cinejax.evaluation.metrics import prompts, story_film
from cinejax.evaluation.metrics.film import FilmScore, Instruments, look_at
from cinejax.film.journal import Settings
from cinejax.film.screenplay import ChunkPrompt, Film, chunk_prompts
from cinejax.film.sheet import film_rows
from cinejax.story import casting, read_back, render, steering, world

PARTS = ('given', 'swap', 'generated', 'codec')

_SEEDS = 1 << 20  # between the sampling seeds of a film; films are fewer


def cast_films(director: Director, count: int) -> list[world.StoryFilm]:
  """The first `count` films of config.eval."""
  cfg = director.cfg
  window = -(-cfg.eval.window_frames // world.CHUNK_FRAMES)
  films = [
    casting.cast(cfg.eval.kind, cfg.eval.seed, i, cfg.dit.layers, window)
    for i in range(count)
  ]
  return [film.in_chunks_of(cfg.film.frames_per_chunk) for film in films]


def as_screenplay(film: world.StoryFilm | Film) -> Film:
  """What it asks for."""
  return film.screenplay() if isinstance(film, world.StoryFilm) else film


@dataclasses.dataclass(frozen=True, eq=False)
class Exam:
  """Films for one director, and how they are looked at."""

  director: Director
  films: Sequence[world.StoryFilm | Film]
  instruments: Instruments

  def batches(self, part: str, numbers: Sequence[int]) -> list[list[int]]:
    """These films in batches; alike in length, so that little is padding."""

    def length(number: int) -> int:
      film = self.films[number]
      of_past = part in ('given', 'swap')
      return film.events[0].chunk if of_past else len(self._prompts(film))

    # films of a batch share what changes on the way
    changing = [n for n in numbers if self._changes(self.films[n])]
    order = sorted(set(numbers) - set(changing), key=length)
    groups = [
      order[i : i + self._size] for i in range(0, len(order), self._size)
    ]
    return groups + [[number] for number in changing]

  def take(
    self,
    part: str,
    numbers: Sequence[int],
    seed: int = 0,
    keep: pathlib.Path | None = None,
  ) -> dict[int, FilmScore]:
    """Scores of one batch, by the films' numbers.

    Args:
      part: one of PARTS.
      numbers: of the films, as many as a batch has at most.
      seed: sampling seed, from 0.
      keep: folder for the generated films, see saved_films.py; None = none.
    """
    full = [*numbers, *[numbers[-1]] * (self._size - len(numbers))]
    if part == 'generated':
      return self._generated(full, seed, keep)
    if part == 'codec':
      return self._through_codec(full)
    films = [self.films[number] for number in full]
    if part == 'swap':
      films = [story_film.swap(film) for film in films]
    return self._after_rendered(full, films, seed, part == 'swap')

  def _after_rendered(
    self,
    numbers: Sequence[int],
    films: Sequence[world.StoryFilm],
    seed: int,
    swapped: bool,
  ) -> dict[int, FilmScore]:
    frames = self.director.cfg.film.frames_per_chunk
    pasts = []
    for number, film, z_FYXC in zip(
      numbers, films, self._encode(films), strict=True
    ):
      _, start, chunks = story_film.return_shot(film)
      noise = self._noise(number, seed)
      pasts.append(
        batches_lib.GivenPast(self._prompts(film), z_FYXC, start, chunks, noise)
      )
    shots = batches_lib.generate_shots(self.director, self._commit_fn, pasts)
    return {
      number: story_film.score_swapped(film, shot.video_TYXC)
      if swapped
      else story_film.score_given(film, shot.video_TYXC, shot.frame_JLR, frames)
      for number, film, shot in zip(numbers, films, shots, strict=True)
    }

  def _generated(
    self, numbers: Sequence[int], seed: int, keep: pathlib.Path | None
  ) -> dict[int, FilmScore]:
    line = self.director.timeline
    films = [self.films[number] for number in numbers]
    said = [self._prompts(film) for film in films]
    noise = [self._noise(number, seed) for number in numbers]
    chunks = batches_lib.roll(self.director, said, noise)
    frames = line.pixel_frames(max(map(len, said)))
    found = {}
    # pixels wait on disk, and are scored when the clock has stopped
    with tempfile.TemporaryFile() as file:
      video_BTYXC, pixel_fps = batches_lib.collect_frames(
        file, chunks, len(films), frames
      )
      for i, number in enumerate(numbers):
        if number in found:  # repeated, to fill the batch
          continue
        video_TYXC = video_BTYXC[i, : line.pixel_frames(len(said[i]))]
        score = self._look(films[i], video_TYXC)
        found[number] = score | FilmScore({'pixel_fps': pixel_fps}, {})
        if keep:
          saved_films.write(
            saved_films.film_path(keep, number), video_TYXC, line.fps
          )
    return found

  def _look(
    self, film: world.StoryFilm | Film, video_TYXC: np.ndarray
  ) -> FilmScore:
    line = self.director.timeline
    if isinstance(film, world.StoryFilm):
      return story_film.score_generated(
        film, video_TYXC, line, self.instruments
      )
    rows = film_rows(film, line)
    readings = None
    if prompts.is_readable(video_TYXC, rows):
      readings = read_back.read_frames(video_TYXC)
    return look_at(video_TYXC, rows, line.fps, self.instruments, readings)

  def _through_codec(self, numbers: Sequence[int]) -> dict[int, FilmScore]:
    films = [self.films[number] for number in numbers]
    z_BFYXC = np.stack(self._encode(films))
    frames = self.director.cfg.film.frames_per_chunk
    chunks = np.split(z_BFYXC, z_BFYXC.shape[1] // frames, axis=1)
    coded_BTYXC = np.concatenate(list(self.director.decode(chunks)), 1)
    found = {}
    for number, film, clean_TYXC, coded_TYXC in zip(
      numbers, films, self._render(films), coded_BTYXC, strict=True
    ):
      coded_TYXC = coded_TYXC[: len(clean_TYXC)]
      found[number] = story_film.score_codec(
        film, clean_TYXC, coded_TYXC, self.director.timeline
      )
    return found

  @functools.cached_property
  def _commit_fn(self) -> batches_lib.CommitFn:
    return batches_lib.make_commit(self.director)

  def _encode(self, films: Sequence[world.StoryFilm]) -> list[np.ndarray]:
    """Latents [N F, Y, X, C] of the films, rendered, and held to N chunks.

    N is that of the longest of all films. What comes after a film changes
    nothing in it: codecs are causal.
    """
    longest = max(film.chunks for film in self.films)
    frames = self.director.timeline.pixel_frames(longest)
    videos = [_lengthen(video, frames) for video in self._render(films)]
    encode, params = self.director.encode_fn, self.director.codec_params
    z_BFYXC = encode(params, np.stack(videos))
    return list(np.asarray(z_BFYXC))

  def _render(self, films: Sequence[world.StoryFilm]) -> list[np.ndarray]:
    line = self.director.timeline
    return render.render_batch(films, line.frames_per_chunk, line.stride)

  @property
  def _size(self) -> int:
    """Of a batch."""
    return min(self.director.cfg.eval.batch, len(self.films))

  def _prompts(self, film: world.StoryFilm | Film) -> tuple[ChunkPrompt, ...]:
    cfg, line = self.director.cfg, self.director.timeline
    said = chunk_prompts(
      as_screenplay(film), cfg.film.cut_prefix, line.chunk_secs
    )
    if not cfg.text.actions or isinstance(film, Film):
      return said
    return steering.steered_prompts(
      film, said, line.frames_per_chunk, line.stride
    )

  def _changes(self, film: world.StoryFilm | Film) -> bool:
    """Whether policy, steps or guidance change on the way."""
    return any(prompt.settings != Settings() for prompt in self._prompts(film))

  def _noise(self, number: int, seed: int) -> int:
    own = getattr(self.films[number], 'seed', None)
    cast = isinstance(self.films[number], world.StoryFilm)
    if own is None or cast:  # a story film's is of its world, not of noise
      own = self.director.cfg.eval.seed + number
    return own + _SEEDS * seed


def _lengthen(video: np.ndarray, frames: int) -> np.ndarray:
  """Its last frame held, for `frames` in all."""
  return video[np.minimum(np.arange(frames), len(video) - 1)]
