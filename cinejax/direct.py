"""Directs the films of a screenplay, or a film by lines of standard input.

  python -m cinejax.direct --config=configs/story.py --weights=weights/story \\
    --screenplay=FILE --out=DIR [--seed=N]
  python -m cinejax.direct … --live --out=DIR

DIR/film.mp4 is written while the film is generated, and then contact_sheet.png
and report.json. Several films in one screenplay go to DIR/00, DIR/01 and so on.
Frames are measured and encoded as they arrive, and a film of any length takes
the memory of a few chunks.

--cast=NAME=FILE, which may be repeated, gives a picture of a character: the
memory of every film begins with it (docs/memory.md). It is added to the
pictures that a screenplay names in its field `cast`.

--image=FILE is the first frame of every film; --video=FILE is a clip that every
film continues, with its first prompt (directing/opening.py).

--compare=camr,sink,window directs every film under two to four memory policies
in step, side by side in one MP4 (evaluation/comparison.py).

With --live, lines of standard input are prompts (film/directions.py). At a
terminal a prompt holds until the next one is typed; from a pipe each prompt
lasts as many chunks as it says. The end of the input (Ctrl-D), Ctrl-C and
SIGTERM end the film, and DIR/screenplay.json generates it again. Every chunk is
recorded (serving/live_roll.py): with --resume as well, the film in DIR
continues where it ended, even after kill -9.

In the report, `fps` is the rate of the film and `pixel_fps` the speed at which
it was generated, with the codec and the MP4 but without compilation;
`first_chunk_secs` includes compilation (equations in core/speed.py). For
prompts of the story world, `place`, `size` and `action` are the shares of
segments that show what their prompts ask for, and `recall` is the share of
shots with a returning character in which the character looks as in its first
shot. `memory` says for each chunk which past frames its memory read. Undefined
values are null.
"""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence

import jax
from absl import flags

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.core.files import check_folder, write_json
from cinejax.core.lock import lock_folder
from cinejax.core.speed import SpeedMeter
from cinejax.directing import opening
from cinejax.directing.cast import GivenPicture, check_pictures, encode_cast
from cinejax.directing.director import Director
from cinejax.directing.loading import load_director
from cinejax.directing.memory_reads import ChunkReads, MemoryRecorder
from cinejax.directing.writing import write_chunks, write_film
from cinejax.evaluation import comparison
from cinejax.evaluation.measurement import FilmMeasurement, summary_line
from cinejax.film import media, screenplay, sheet
from cinejax.film.cast import grouped, parse_flags
from cinejax.models import attention
from cinejax.serving import live_roll

_FILM, _SHEET = 'film.mp4', 'contact_sheet.png'
_SHEET_ROWS = 120  # of a longer film, the first and last segments are shown


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string(
    'weights', None, 'File or folder of the weights.', required=True
  )
  flags.DEFINE_multi_string(
    'lora', [], 'Adapter to merge, FILE or FILE:STRENGTH; may be repeated.'
  )
  flags.DEFINE_string('screenplay', None, 'File or folder of screenplays.')
  flags.DEFINE_string(
    'image', None, 'Image file, the first frame of every film.'
  )
  flags.DEFINE_multi_string(
    'cast', [], 'Picture of a character, NAME=FILE; may be repeated.'
  )
  flags.DEFINE_string('video', None, 'Video file that every film continues.')
  flags.DEFINE_string(
    'compare', None, 'Memory policies to direct side by side: camr,sink,window.'
  )
  flags.DEFINE_bool('live', False, 'Read prompts from standard input.')
  flags.DEFINE_bool('resume', False, 'Continue the --live film in --out.')
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'seed',
    None,
    "Seed of the noise; default: the film's own, or else 0.",
    lower_bound=0,
    upper_bound=2**32 - 1,
  )


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.live == bool(args.screenplay):
    raise UserError('give either --screenplay=FILE or --live')
  if args.image and args.video:
    raise UserError('give either --image=FILE or --video=FILE')
  if args.resume and not args.live:
    raise UserError('--resume continues a film of --live; give --live too')
  if args.compare and args.live:
    raise UserError('--compare directs a screenplay; leave out --live')
  policies = comparison.parse_policies(args.compare) if args.compare else ()
  cast = parse_flags(args.cast)
  films = screenplay.load(args.screenplay) if args.screenplay else ()
  films = [
    dataclasses.replace(one, cast=grouped(one.cast + cast)) for one in films
  ]
  out = check_folder(args.out)
  director = load_director(cfg, args.weights, adapters=args.lora)
  for film in films:
    director.check(film)
    check_pictures(cfg, film.cast)
    if policies:
      comparison.check(film)
  given_BFYXC = opening.from_flags(director, args.image, args.video)
  if args.live and opening.given_chunks(director, given_BFYXC):
    raise UserError('--live cannot continue a clip; use --screenplay')
  facts = {
    'policy': list(policies) or cfg.memory.policy,
    'steps': cfg.rollout.steps,
    'weights': args.weights,
    'opening': args.image or args.video,
  }

  def seed_of(film: screenplay.Film | None) -> int:
    seeds = [args.seed, film and film.seed, 0]
    return next(seed for seed in seeds if seed is not None)

  def write_report(
    folder: pathlib.Path, seed: int, figures: dict[str, object]
  ) -> None:
    report = {'seed': seed} | facts | {'attention': attention.announced()}
    report |= figures
    write_json(folder / 'report.json', report)
    print(f'{folder}: {summary_line(figures)}')
    for policy, measured in figures.get('policies', {}).items():
      print(f'{folder}: {policy}: {summary_line(measured)}')

  locked = lock_folder(out, '--out') if args.live else None
  try:
    if args.live:
      recorded = live_roll.recorded_film(
        director, out, args.resume, args.seed, args.image, cast
      )
      if recorded is not None:
        facts['opening'] = recorded.opening
        given_BFYXC = opening.from_flags(director, recorded.opening, None)
      seed = seed_of(None) if recorded is None else recorded.seed
      roll = live_roll.LiveRoll(
        director, out, seed, recorded, given_BFYXC, facts['opening'], cast
      )
      figures = direct_live(director, roll, out)
      write_report(out, seed, figures)
      if roll.error:
        raise UserError(f'{roll.error}; {out} has the film up to there')
      if roll.signal is not None:
        print(f'stopped; --resume continues {out}', file=sys.stderr)
        sys.exit(128 + roll.signal)
    for number, film in enumerate(films):
      folder = out / f'{number:02d}' if len(films) > 1 else out
      seed = seed_of(film)
      pictures = encode_cast(director, film.cast)
      if policies:
        figures = comparison.compare(
          director, policies, film, folder, seed, given_BFYXC, pictures
        )
      else:
        figures = direct(director, film, folder, seed, given_BFYXC, pictures)
      write_report(folder, seed, figures)
  except KeyboardInterrupt:
    print(f'stopped; the files in {out} are complete', file=sys.stderr)
    sys.exit(130)
  finally:
    if locked is not None:
      os.close(locked)


def direct(
  director: Director,
  film: screenplay.Film,
  folder: pathlib.Path,
  seed: int,
  given_BFYXC: jax.Array | None = None,
  cast: Sequence[GivenPicture] = (),
) -> dict[str, object]:
  """Directs one film; writes its MP4 and contact sheet.

  Args:
    director: generates the film.
    film: the screenplay.
    folder: to write to.
    seed: of the noise.
    given_BFYXC: the latents with which the film begins.
    cast: pictures that the memory of the film begins with.

  Returns:
    The figures of the report.
  """
  film = opening.with_given_chunks(
    film, opening.given_chunks(director, given_BFYXC)
  )
  chunk_prompts = screenplay.chunk_prompts(
    film, director.cfg.film.cut_prefix, director.timeline.chunk_secs
  )
  rows = sheet.film_rows(film, director.timeline)
  page = _contact_sheet(director, film, rows)
  recorder = MemoryRecorder(
    director.cfg.film.frames_per_chunk,
    director.cfg.memory.window_frames,
    opening.given_chunks(director, given_BFYXC),
  )
  with FilmMeasurement() as measurement:
    speed = write_film(
      director,
      chunk_prompts,
      folder / _FILM,
      seed,
      given_BFYXC,
      total=len(chunk_prompts),
      viewers=[measurement.add_frame, page.add_frame],
      observe=recorder,
      cast=cast,
    )
    media.save_image(folder / _SHEET, page.image())
    return _figures(director, film, rows, measurement, speed, recorder.reads)


def direct_live(
  director: Director, roll: live_roll.LiveRoll, folder: pathlib.Path
) -> dict[str, object]:
  """Like `direct`, by lines of standard input.

  Raises UserError if there are no directions.
  """
  if not roll.wait():
    if roll.signal is not None:
      sys.exit(128 + roll.signal)
    none = UserError('standard input holds no prompt; write one on each line')
    raise roll.error or none
  with FilmMeasurement() as measurement:
    speed = write_chunks(
      director,
      roll.chunks(),
      folder / _FILM,
      given=roll.stored,
      viewers=[measurement.add_frame],
    )
    film = roll.film
    # The segments are known only now; their frames are in the MP4.
    rows = sheet.film_rows(film, director.timeline)
    page = _contact_sheet(director, film, rows)
    scale = media.watchable_scale(director.cfg.film.height)
    for frame_YXC in media.read_frames(folder / _FILM):
      page.add_frame(frame_YXC[scale // 2 :: scale, scale // 2 :: scale])
    media.save_image(folder / _SHEET, page.image())
    return _figures(director, film, rows, measurement, speed, roll.reads)


def _contact_sheet(
  director: Director, film: screenplay.Film, rows: Sequence[sheet.Row]
) -> sheet.ContactSheet:
  shown = sheet.shortened(rows, _SHEET_ROWS)
  return sheet.ContactSheet(shown, director.cfg.film.fps, film.title)


def _figures(
  director: Director,
  film: screenplay.Film,
  rows: Sequence[sheet.Row],
  measurement: FilmMeasurement,
  speed: SpeedMeter,
  reads: Sequence[ChunkReads],  # of the chunks that this command generated
) -> dict[str, object]:
  """The figures of the report."""
  timeline = director.timeline
  prompts = screenplay.chunk_prompts(film, '', timeline.chunk_secs)
  names = [one.name for one in film.cast]
  return {
    'shots': rows[-1].shot + 1,
    'frames': measurement.frames,
    'fps': director.cfg.film.fps,
    'pixel_fps': speed.pixel_fps,
    'first_chunk_secs': speed.first_chunk_secs,
    **measurement.figures(rows),
    'memory': [one.to_json(prompts, timeline, names) for one in reads],
  }


if __name__ == '__main__':
  define_flags()
  command.run(main)
