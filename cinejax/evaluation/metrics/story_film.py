"""Scores of films of the story world, whose ground truth is known.

Only the main event of a film, `events[0]`, counts towards recall: it is one
yes or no per film, so all films weigh the same and pairs are independent.

  generated  the model makes the whole film; the appearance in the return shot
             is compared with that in the character's first shot
  given      the model makes only the return shot; the appearance is compared
             with that in the given past
  cast       the model makes only the first shot of the character; the
             appearance is compared with that in a given picture
  bank       the model makes the return shot again, with another bank
  swapped    like given, but the character has a spare appearance throughout
             the given past
  codec      the film is rendered, and rendered then encoded and decoded
"""

import numpy as np

from cinejax.evaluation.metrics import prompts, recall
from cinejax.evaluation.metrics.film import FilmScore, Instruments, score_film
from cinejax.evaluation.metrics.recall import RecallPair
from cinejax.film.sheet import film_rows
from cinejax.film.timeline import Timeline
from cinejax.memory.bank import picture_start
from cinejax.story import motion, read_back, render, world

_MOST = 1e6  # as a ratio, 60 dB


def return_shot(film: world.StoryFilm) -> tuple[int, int, int]:
  """The shot of the main event, its first chunk and its number of chunks."""
  shot_of_segment = film.segment_shots()
  shot_of_chunk = [shot_of_segment[n] for n in film.chunk_segments()]
  start = film.events[0].chunk
  shot = shot_of_chunk[start]
  return shot, start, shot_of_chunk.count(shot)


def first_shot(film: world.StoryFilm) -> tuple[int, int]:
  """The first chunk of the main event's character, and its shot's chunks."""
  shot_of_segment = film.segment_shots()
  shots = [shot_of_segment[n] for n in film.chunk_segments()]
  start = film.chunk_characters().index(film.events[0].character)
  return start, shots.count(shots[start])


def swap(film: world.StoryFilm) -> world.StoryFilm:
  """The film with the returning character in an appearance nobody has."""
  spare = render.spare_appearances(film)
  appearance = spare[film.seed % len(spare)]
  return render.swap_appearance(film, film.events[0].character, appearance)


def score_generated(
  film: world.StoryFilm,
  video_TYXC: np.ndarray,
  timeline: Timeline,
  instruments: Instruments,
) -> FilmScore:
  """Scores a film that was generated as a whole.

  Args:
    film: what was asked for.
    video_TYXC: uint8; may be memory-mapped.
    timeline: of the film.
    instruments: see `score_film`.
  """
  rows = film_rows(film.screenplay(), timeline)
  readings = read_back.read_frames(video_TYXC)
  first = recall.first_shots(rows)
  pair = recall.film_recall_pair(
    readings, rows, first[film.events[0].character], return_shot(film)[0]
  )
  appearances = tuple(
    recall.shot_appearance(readings, rows, shot) for shot in first.values()
  )
  score = score_film(video_TYXC, rows, timeline.fps, instruments, readings)
  main = {'recall': float(recall.is_right(pair))}
  return score | FilmScore(main, {'recall': pair}, appearances)


def score_given(
  film: world.StoryFilm,
  video_TYXC: np.ndarray,
  frame_JLR: np.ndarray,
  frames_per_chunk: int,
) -> FilmScore:
  """Scores the generated return shot of a film whose past was rendered.

  Args:
    film: what was asked for.
    video_TYXC: uint8, the return shot alone.
    frame_JLR: latent frames routed in the first chunk of the shot.
    frames_per_chunk: latent frames of a chunk.
  """
  readings = read_back.read_frames(video_TYXC)
  pair = _given_pair(film, readings)
  event = film.events[0]
  past = film.chunk_characters()[: event.chunk]
  character_frames = [
    chunk * frames_per_chunk + frame
    for chunk, character in enumerate(past)
    if character == event.character
    for frame in range(frames_per_chunk)
  ]
  values = {
    'recall_given': float(recall.is_right(pair)),
    'unreadable_given': float(1 - readings.readable.mean()),
    **recall.routing_metrics(frame_JLR, character_frames),
  }
  return FilmScore(values, {'recall_given': pair})


def score_cast(
  film: world.StoryFilm,
  video_TYXC: np.ndarray,
  frame_JLR: np.ndarray,
  frames_per_chunk: int,
) -> FilmScore:
  """Scores the first shot of a character of whom one picture was given.

  The arguments are those of `score_given`; the picture is the only one.
  """
  readings = read_back.read_frames(video_TYXC)
  pair = _given_pair(film, readings)
  start = picture_start(0, frames_per_chunk)
  values = {
    'recall_cast': float(recall.is_right(pair)),
    'unreadable_cast': float(1 - readings.readable.mean()),
    **recall.routing_metrics(
      frame_JLR, range(start, start + frames_per_chunk), 'cast'
    ),
  }
  return FilmScore(values, {'recall_cast': pair})


def score_swapped(film: world.StoryFilm, video_TYXC: np.ndarray) -> FilmScore:
  """Scores the return shot of `swap(film)`, after its rendered past.

  A model that copies the past draws the swapped appearance; one that has
  learned appearances by heart does not.
  """
  pair = _given_pair(film, read_back.read_frames(video_TYXC))
  values = {'recall_swap': float(recall.is_right(pair))}
  return FilmScore(values, {'recall_swap': pair})


def score_bank(
  video_TYXC: np.ndarray, whole_TYXC: np.ndarray, bank_bytes: int
) -> FilmScore:
  """Scores the return shot by what a bank that keeps everything makes of it.

  Args:
    video_TYXC: uint8, the return shot.
    whole_TYXC: the same with all frames in the bank, as they were computed.
    bank_bytes: of the bank that made `video_TYXC`.
  """
  values = {
    'psnr_bank': _psnr(video_TYXC, whole_TYXC),
    'bank_bytes': float(bank_bytes),
  }
  return FilmScore(values, {})


def score_codec(
  film: world.StoryFilm,
  clean_TYXC: np.ndarray,
  coded_TYXC: np.ndarray,
  timeline: Timeline,
) -> FilmScore:
  """Scores a codec by how well the story can be read from its frames.

  The values are psnr in dB and, for the rendered (`read_clean`) and the coded
  video (`read_codec`), the share of frames in which appearance, place and size
  are all read right; then, with a suffix, the shares of each of these, of x
  (within a pixel), and of action (by segment).

  Args:
    film: what was rendered.
    clean_TYXC: uint8, rendered.
    coded_TYXC: uint8, encoded and decoded.
    timeline: of the film.
  """
  values = {'psnr': _psnr(clean_TYXC, coded_TYXC)}
  for name, video_TYXC in (('clean', clean_TYXC), ('codec', coded_TYXC)):
    for field, share in _read_right(film, video_TYXC, timeline).items():
      values[f'read_{name}{field}'] = share
  return FilmScore(values, {})


def _psnr(one_TYXC: np.ndarray, other_TYXC: np.ndarray) -> float:
  """PSNR in dB of two uint8 videos; at most 60, which equal ones have."""
  error = np.mean((one_TYXC.astype(np.float64) - other_TYXC) ** 2)
  return float(10 * np.log10(255**2 / max(error, 255**2 / _MOST)))


def _given_pair(
  film: world.StoryFilm, readings: read_back.Readings
) -> RecallPair:
  shown = read_back.read_shot(readings, 0, len(readings.appearance))
  character = film.events[0].character
  return RecallPair(shown.appearance, film.appearances[character])


def _read_right(
  film: world.StoryFilm, video_TYXC: np.ndarray, timeline: Timeline
) -> dict[str, float | None]:
  states = motion.describe(film, timeline.frames_per_chunk, timeline.stride)
  readings = read_back.read_frames(video_TYXC)
  appearances = [
    world.APPEARANCES.index(appearance)
    for appearance in zip(states.hue, states.shape, states.pattern, strict=True)
  ]
  right = {
    '_appearance': readings.appearance == appearances,
    '_place': readings.place == states.place,
    '_size': readings.size == states.size,
  }
  whole = np.all(list(right.values()), axis=0)
  right = {'': whole, **right, '_x': np.abs(readings.x - states.x) < 1}
  rows = film_rows(film.screenplay(), timeline)
  shares: dict[str, float | None] = {
    field: float(values.mean()) for field, values in right.items()
  }
  action = prompts.prompt_metrics(readings, rows)['action']
  return shares | {'_action': action}
