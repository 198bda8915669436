"""The films on which a director is evaluated, made in batches and scored.

The parts of an evaluation are

  given      the return shot of each film, generated after its rendered past
  swap       the same after a past in which the returning character has
             another appearance
  generated  each film, generated from its first chunk to its last
  codec      each film, rendered, encoded and decoded; nothing is generated
  cast       the first shot of the character that returns, generated after its
             rendered past; only a picture shows the character
  bank       the return shot of `given`, beside the one with a bank that holds
             all frames as they are computed

Films are cast in the story world, or are screenplays. Screenplays have no
rendered ground truth and are only generated.

All batches have the same size, so one compiled program serves them; the last
one is filled up by repeating a film. The noise of a film depends only on its
number and the sampling seed, not on the films beside it or on the order of
batches.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from cinejax.directing import batches as batches_lib
from cinejax.directing import cast as cast_lib
from cinejax.directing.director import Director
from cinejax.evaluation import rendered_films, saved_films, whole_bank
from cinejax.evaluation.metrics import prompts, story_film
from cinejax.evaluation.metrics.film import FilmScore, Instruments, score_film
from cinejax.evaluation.questions import AnswerFn, Question
from cinejax.evaluation.questions import score as score_answers
from cinejax.film.journal import Settings
from cinejax.film.screenplay import ChunkPrompt, Film, chunk_prompts
from cinejax.film.sheet import film_rows
from cinejax.story import casting, read_back, steering, world

PARTS = ('given', 'swap', 'generated', 'codec', 'cast', 'bank')

# The distance between the noise seeds of a film under successive sampling
# seeds; it is more than there are films.
_SEEDS = 1 << 20


def cast_films(director: Director, count: int) -> list[world.StoryFilm]:
  """The first `count` story films of config.eval, in chunks of the config."""
  cfg = director.cfg
  window = -(-cfg.eval.window_frames // world.CHUNK_FRAMES)
  films = [
    casting.cast(cfg.eval.kind, cfg.eval.seed, i, cfg.dit.layers, window)
    for i in range(count)
  ]
  return [film.in_chunks_of(cfg.film.frames_per_chunk) for film in films]


def as_screenplay(film: world.StoryFilm | Film) -> Film:
  """The screenplay of a story film; a screenplay as it is."""
  return film.screenplay() if isinstance(film, world.StoryFilm) else film


@dataclasses.dataclass(frozen=True, eq=False)
class BenchmarkCase:
  """One director, the films it is evaluated on, and the instruments."""

  director: Director
  films: Sequence[world.StoryFilm | Film]
  instruments: Instruments  # measure the generated films
  # about each film, and what answers them; () and None = none are asked
  questions: Sequence[Sequence[Question]] = ()
  answer_fn: AnswerFn | None = None

  def batches(self, part: str, numbers: Sequence[int]) -> list[list[int]]:
    """Groups films into batches of similar length, to keep padding short.

    Args:
      part: one of PARTS.
      numbers: of the films.
    """

    def length_chunks(number: int) -> int:
      film = self.films[number]
      if part == 'cast':
        return story_film.first_shot(film)[0]
      has_past = part in ('given', 'swap', 'bank')
      return film.events[0].chunk if has_past else len(self._prompts(film))

    # The films of a batch share policy, steps, guidance and pictures.
    alone = [n for n in numbers if self._is_alone(self.films[n])]
    order = sorted(set(numbers) - set(alone), key=length_chunks)
    size = self._batch_size
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    return groups + [[number] for number in alone]

  def score_batch(
    self,
    part: str,
    numbers: Sequence[int],
    seed: int = 0,
    folder: pathlib.Path | None = None,
  ) -> dict[int, FilmScore]:
    """Scores one batch of films, by the number of the film.

    Args:
      part: one of PARTS.
      numbers: of the films, at most as many as a batch holds.
      seed: sampling seed, from 0.
      folder: where generated films are saved (saved_films.py); None = nowhere.
    """
    full = [*numbers, *[numbers[-1]] * (self._batch_size - len(numbers))]
    if part == 'generated':
      return self._score_generated(full, seed, folder)
    if part == 'codec':
      return self._score_codec(full)
    if part == 'bank':
      return self._score_bank(full, seed)
    films = [self.films[number] for number in full]
    if part == 'swap':
      films = [story_film.swap(film) for film in films]
    shots = self._shots(full, films, seed, part == 'cast')
    if part == 'swap':
      return {
        number: story_film.score_swapped(film, shot.video_TYXC)
        for number, film, shot in zip(full, films, shots, strict=True)
      }
    score = story_film.score_cast if part == 'cast' else story_film.score_given
    frames = self.director.cfg.film.frames_per_chunk
    return {
      number: score(film, shot.video_TYXC, shot.frame_JLR, frames)
      for number, film, shot in zip(full, films, shots, strict=True)
    }

  def _shots(
    self,
    numbers: Sequence[int],
    films: Sequence[world.StoryFilm],
    seed: int,
    from_picture: bool,
  ) -> list[batches_lib.GeneratedShot]:
    """The return shot of each film, after its rendered past.

    With `from_picture`, it is the first shot of the character that returns, and
    a picture of that character is in the memory.
    """
    pasts = []
    for number, film, z_FYXC in zip(
      numbers, films, self._encode(films), strict=True
    ):
      start, chunks = story_film.return_shot(film)[1:]
      if from_picture:
        start, chunks = story_film.first_shot(film)
      noise = self._noise(number, seed)
      pasts.append(
        batches_lib.GivenPast(self._prompts(film), z_FYXC, start, chunks, noise)
      )
    cast = []
    if from_picture:
      cast.append(rendered_films.encode_pictures(self.director, films))
    return batches_lib.generate_shots(
      self.director, self._commit_fn, pasts, cast
    )

  def _score_generated(
    self, numbers: Sequence[int], seed: int, folder: pathlib.Path | None
  ) -> dict[int, FilmScore]:
    timeline = self.director.timeline
    films = [self.films[number] for number in numbers]
    film_prompts = [self._prompts(film) for film in films]
    noise = [self._noise(number, seed) for number in numbers]
    chunks = batches_lib.roll(
      self.director, film_prompts, noise, self._cast(films[0])
    )
    frames = timeline.pixel_frames(max(map(len, film_prompts)))
    scores = {}
    # Pixels go to disk and are scored later: scoring must not count as
    # generation in pixel_fps.
    with (
      tempfile.TemporaryFile() as file,
      tempfile.TemporaryDirectory() as spare,
    ):
      video_BTYXC, pixel_fps = batches_lib.collect_frames(
        file, chunks, len(films), frames
      )
      for i, number in enumerate(numbers):
        if number in scores:  # repeated, to fill the batch
          continue
        length = timeline.pixel_frames(len(film_prompts[i]))
        video_TYXC = video_BTYXC[i, :length]
        score = self._score_video(films[i], video_TYXC)
        scores[number] = score | FilmScore({'pixel_fps': pixel_fps}, {})
        path = saved_films.film_path(folder or pathlib.Path(spare), number)
        if folder or self.questions:
          saved_films.write(path, video_TYXC, timeline.fps)
        if self.questions:
          answers = score_answers(self.questions[number], path, self.answer_fn)
          scores[number] |= FilmScore(answers, {})
    return scores

  def _score_video(
    self, film: world.StoryFilm | Film, video_TYXC: np.ndarray
  ) -> FilmScore:
    timeline, instruments = self.director.timeline, self.instruments
    if isinstance(film, world.StoryFilm):
      return story_film.score_generated(film, video_TYXC, timeline, instruments)
    rows = film_rows(film, timeline)
    readings = None
    if prompts.is_readable(video_TYXC, rows):
      readings = read_back.read_frames(video_TYXC)
    return score_film(video_TYXC, rows, timeline.fps, instruments, readings)

  def _score_codec(self, numbers: Sequence[int]) -> dict[int, FilmScore]:
    films = [self.films[number] for number in numbers]
    z_BFYXC = np.stack(self._encode(films))
    frames = self.director.cfg.film.frames_per_chunk
    chunks = np.split(z_BFYXC, z_BFYXC.shape[1] // frames, axis=1)
    coded_BTYXC = np.concatenate(list(self.director.decode(chunks)), 1)
    clean = rendered_films.render_films(self.director.timeline, films)
    scores = {}
    for number, film, clean_TYXC, coded_TYXC in zip(
      numbers, films, clean, coded_BTYXC, strict=True
    ):
      coded_TYXC = coded_TYXC[: len(clean_TYXC)]
      scores[number] = story_film.score_codec(
        film, clean_TYXC, coded_TYXC, self.director.timeline
      )
    return scores

  def _score_bank(
    self, numbers: Sequence[int], seed: int
  ) -> dict[int, FilmScore]:
    films = [self.films[number] for number in numbers]
    shots, whole = (
      case._shots(numbers, films, seed, from_picture=False)
      for case in (self, self._whole)
    )
    size = whole_bank.bank_bytes(self.director)
    return {
      number: story_film.score_bank(shot.video_TYXC, reference.video_TYXC, size)
      for number, shot, reference in zip(numbers, shots, whole, strict=True)
    }

  @functools.cached_property
  def _whole(self) -> 'BenchmarkCase':
    """The case with a bank that holds all frames as they are computed."""
    longest = max(film.chunks for film in self.films)
    director = whole_bank.with_whole_bank(self.director, longest)
    return dataclasses.replace(self, director=director)

  @functools.cached_property
  def _commit_fn(self) -> batches_lib.CommitFn:
    return batches_lib.make_commit(self.director)

  def _encode(self, films: Sequence[world.StoryFilm]) -> list[np.ndarray]:
    longest = max(film.chunks for film in self.films)
    return rendered_films.encode(self.director, films, longest)

  @property
  def _batch_size(self) -> int:
    return min(self.director.cfg.eval.batch, len(self.films))

  def _prompts(self, film: world.StoryFilm | Film) -> tuple[ChunkPrompt, ...]:
    cfg, timeline = self.director.cfg, self.director.timeline
    plain = chunk_prompts(
      as_screenplay(film), cfg.film.cut_prefix, timeline.chunk_secs
    )
    if not cfg.text.actions or isinstance(film, Film):
      return plain
    return steering.steered_prompts(
      film, plain, timeline.frames_per_chunk, timeline.stride
    )

  def _is_alone(self, film: world.StoryFilm | Film) -> bool:
    """Whether the film has pictures, or changes policy, steps or guidance."""
    changes = (one.settings != Settings() for one in self._prompts(film))
    return any(changes) or bool(as_screenplay(film).cast)

  def _cast(
    self, film: world.StoryFilm | Film
  ) -> tuple[cast_lib.GivenPicture, ...]:
    return cast_lib.encode_cast(self.director, as_screenplay(film).cast)

  def _noise(self, number: int, seed: int) -> int:
    """The seed of a film's noise."""
    film = self.films[number]
    own = film.seed if isinstance(film, Film) else None
    if own is None:  # the seed of a story film is that of its casting
      own = self.director.cfg.eval.seed + number
    return own + _SEEDS * seed
