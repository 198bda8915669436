"""The figures of one story film, whose truth is known.

Of a film's events only the main one, `events[0]`, counts: recall is one
yes or no a film, so that films weigh the same and draws are independent.

  generated   all of it is the model's; looks are compared with her first shot
  given       only the return shot is; looks are compared with what was given
  swapped     as given, but she wore a spare look all through the history
  codec       rendered, and rendered then encoded and decoded
"""

import numpy as np

from cinejax.evaluation.metrics import prompts, recall
from cinejax.evaluation.metrics.film import FilmScore, Instruments, look_at
from cinejax.evaluation.metrics.recall import Draw
from cinejax.film.sheet import film_rows
from cinejax.film.timeline import Timeline
from cinejax.story import motion, read_back, render, world


def return_shot(film: world.StoryFilm) -> tuple[int, int, int]:
  """(shot, first chunk, chunks) of the main event."""
  of_segment = film.segment_shots()
  of_chunk = [of_segment[segment] for segment in film.chunk_segments()]
  start = film.events[0].chunk
  return of_chunk[start], start, of_chunk.count(of_chunk[start])


def swap(film: world.StoryFilm) -> world.StoryFilm:
  """The film with the returning character in a spare look of its own."""
  spare = render.spare_appearances(film)
  look = spare[film.seed % len(spare)]
  return render.swap_appearance(film, film.events[0].character, look)


def score_generated(
  film: world.StoryFilm,
  video_TYXC: np.ndarray,
  timeline: Timeline,
  instruments: Instruments,
) -> FilmScore:
  """A wholly generated film, uint8, perhaps on disk: see `look_at`."""
  rows = film_rows(film.screenplay(), timeline)
  readings = read_back.read_frames(video_TYXC)
  first = recall.first_shots(rows)
  draw = recall.film_draw(
    readings, rows, first[film.events[0].character], return_shot(film)[0]
  )
  looks = tuple(
    recall.shot_look(readings, rows, shot) for shot in first.values()
  )
  seen = look_at(video_TYXC, rows, timeline.fps, instruments, readings)
  main = {'recall': float(recall.is_right(draw))}
  return seen | FilmScore(main, {'recall': draw}, looks)


def score_given(
  film: world.StoryFilm,
  video_TYXC: np.ndarray,
  frame_JLR: np.ndarray,
  frames_per_chunk: int,
) -> FilmScore:
  """The generated return shot of a film whose past was rendered.

  frame_JLR are the latent frames routed in the shot's first chunk.
  """
  readings = read_back.read_frames(video_TYXC)
  draw = _given_draw(film, readings)
  event = film.events[0]
  hers = [
    chunk * frames_per_chunk + frame
    for chunk, character in enumerate(film.chunk_characters()[: event.chunk])
    if character == event.character
    for frame in range(frames_per_chunk)
  ]
  values = {
    'recall_given': float(recall.is_right(draw)),
    'unreadable_given': float(1 - readings.readable.mean()),
    **recall.routing_figures(frame_JLR, hers),
  }
  return FilmScore(values, {'recall_given': draw})


def score_swapped(film: world.StoryFilm, video_TYXC: np.ndarray) -> FilmScore:
  """The same of `swap(film)`: does the drawn look follow the history?"""
  draw = _given_draw(film, read_back.read_frames(video_TYXC))
  return FilmScore(
    {'recall_swap': float(recall.is_right(draw))}, {'recall_swap': draw}
  )


def score_codec(
  film: world.StoryFilm,
  clean_TYXC: np.ndarray,
  coded_TYXC: np.ndarray,
  timeline: Timeline,
) -> FilmScore:
  """psnr in dB, and shares read right of both videos.

  read_clean and read_codec are of frames in which look, place and size are
  all right; then each of these, x (to a pixel), and action (of segments).
  """
  error = np.mean((clean_TYXC.astype(np.float64) - coded_TYXC) ** 2)
  values = {'psnr': float(10 * np.log10(255**2 / max(error, 1e-9)))}
  for name, video_TYXC in (('clean', clean_TYXC), ('codec', coded_TYXC)):
    for field, share in _read_right(film, video_TYXC, timeline).items():
      values[f'read_{name}{field}'] = share
  return FilmScore(values, {})


def _given_draw(film: world.StoryFilm, readings: read_back.Readings) -> Draw:
  shown = read_back.read_shot(readings, 0, len(readings.appearance))
  return Draw(shown.appearance, film.appearances[film.events[0].character])


def _read_right(
  film: world.StoryFilm, video_TYXC: np.ndarray, timeline: Timeline
) -> dict[str, float | None]:
  states = motion.describe(film, timeline.frames_per_chunk, timeline.stride)
  readings = read_back.read_frames(video_TYXC)
  looks = [
    world.APPEARANCES.index(look)
    for look in zip(states.hue, states.shape, states.pattern, strict=True)
  ]
  right = {
    '_look': readings.appearance == looks,
    '_place': readings.place == states.place,
    '_size': readings.size == states.size,
  }
  whole = np.all(list(right.values()), axis=0)
  right = {'': whole, **right, '_x': np.abs(readings.x - states.x) < 1}
  rows = film_rows(film.screenplay(), timeline)
  shares: dict[str, float | None] = {
    field: float(values.mean()) for field, values in right.items()
  }
  action = prompts.prompt_figures(readings, rows)['action']
  return shares | {'_action': action}
