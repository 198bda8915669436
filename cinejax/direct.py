"""Directs the films of a screenplay, or one that is typed while it is made.

  python -m cinejax.direct --config=configs/story.py --weights=weights/story \\
    --screenplay=FILE --out=DIR [--seed=N]
  python -m cinejax.direct … --live --out=DIR

DIR/film.mp4 is written while it is made; contact_sheet.png and report.json
follow. Several films in one screenplay go to DIR/00, DIR/01 and so on.

--image=FILE is the first frame of every film; --video=FILE is a clip that they
go on from, under their first prompt (directing/opening.py).

With --live, lines of standard input are prompts (film/directions.py): at a
terminal one is held until the next comes, from a pipe each takes its chunks;
the end of the input (Ctrl-D) ends the film, and DIR/screenplay.json makes it
again.

In the report `fps` is the film's rate and `pixel_fps` the speed at which it
was made, codec and MP4 included, compilation not; `first_chunk_secs` does
include compilation (equations in core/speed.py). Where the prompts are
the story world's, place, size and action are shares of segments that show
what they say, and recall is the share of shots with a returning character
that show her as her first shot did. What is undefined is null.
"""

import itertools
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.core.files import check_folder, write_json
from cinejax.core.speed import SpeedMeter
from cinejax.directing import opening, stdin
from cinejax.directing.director import Director
from cinejax.directing.loading import load_director
from cinejax.evaluation.metrics import cuts, prompts, recall
from cinejax.film import media, screenplay, sheet
from cinejax.film.directions import Directions
from cinejax.models import attention
from cinejax.story import read_back


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('weights', None, 'File or folder.', required=True)
  flags.DEFINE_multi_string('lora', [], 'LoRA file to merge; may be repeated.')
  flags.DEFINE_string('screenplay', None, 'File or folder of films.')
  flags.DEFINE_string('image', None, 'What every film begins with, a file.')
  flags.DEFINE_string('video', None, 'A clip that every film goes on from.')
  flags.DEFINE_bool('live', False, 'Direct by lines of standard input.')
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'seed',
    None,
    "Of the noise; default: each film's own, or else 0.",
    lower_bound=0,
    upper_bound=2**32 - 1,
  )


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.live == bool(args.screenplay):
    raise UserError('give either --screenplay=FILE or --live')
  if args.image and args.video:
    raise UserError('give either --image=FILE or --video=FILE')
  films = screenplay.load(args.screenplay) if args.screenplay else ()
  out = check_folder(args.out)
  director = load_director(cfg, args.weights, adapters=args.lora)
  for film in films:
    director.check(film)
  given_BFYXC = _given(director, args.image, args.video)
  if args.live and opening.whole_chunks(director, given_BFYXC):
    raise UserError('--live cannot go on from given chunks; use --screenplay')
  facts = {
    'policy': cfg.memory.policy,
    'steps': cfg.rollout.steps,
    'weights': args.weights,
    'opening': args.image or args.video,
  }

  def seed_of(film: screenplay.Film | None) -> int:
    given = [args.seed, film and film.seed, 0]
    return next(seed for seed in given if seed is not None)

  def tell(folder: pathlib.Path, seed: int, report: dict[str, object]) -> None:
    told = {'seed': seed} | facts | {'attention': attention.announced()}
    told |= report
    write_json(folder / 'report.json', told)
    print(f'{folder}: {_summary(report)}')

  try:
    if args.live:
      said = stdin.directions(cfg.film.cut_prefix, director.check_prompt)
      seed = seed_of(None)
      tell(out, seed, direct_live(director, said, out, seed, given_BFYXC))
      if said.error:
        raise UserError(f'{said.error}; {out} has the film up to there')
    for number, film in enumerate(films):
      folder = out / f'{number:02d}' if len(films) > 1 else out
      seed = seed_of(film)
      tell(folder, seed, direct(director, film, folder, seed, given_BFYXC))
  except KeyboardInterrupt:
    print(f'stopped; whatever is in {out} is whole', file=sys.stderr)
    sys.exit(130)


def _given(
  director: Director, image: str | None, video: str | None
) -> jax.Array | None:
  """The latents that films begin with."""
  if image:
    return opening.from_image(director, image)
  return opening.from_video(director, video) if video else None


def direct(
  director: Director,
  film: screenplay.Film,
  folder: pathlib.Path,
  seed: int,
  given_BFYXC: jax.Array | None = None,
) -> dict[str, object]:
  """Makes one film, its MP4 and its sheet; returns what was measured."""
  film = opening.after(film, opening.whole_chunks(director, given_BFYXC))
  said = screenplay.chunk_prompts(
    film, director.cfg.film.cut_prefix, director.timeline.chunk_secs
  )
  video_TYXC, speed = _make(
    director, said, folder, seed, len(said), given_BFYXC
  )
  return _account(director, film, folder, video_TYXC, speed)


def direct_live(
  director: Director,
  directions: Directions,
  folder: pathlib.Path,
  seed: int,
  given_BFYXC: jax.Array | None = None,
) -> dict[str, object]:
  """The same by directions; the screenplay of them is written beside it.

  Raises UserError if there are none.
  """
  said = iter(directions)
  first = next(said, None)
  if first is None:
    none = UserError('standard input holds no prompt; give one a line')
    raise directions.error or none
  said = itertools.chain([first], said)
  video_TYXC, speed = _make(director, said, folder, seed, None, given_BFYXC)
  film = directions.film(seed)
  screenplay.save(film, folder / 'screenplay.json')
  return _account(director, film, folder, video_TYXC, speed)


def _make(
  director: Director,
  said: Iterable[screenplay.ChunkPrompt],
  folder: pathlib.Path,
  seed: int,
  total: int | None,
  given_BFYXC: jax.Array | None,
) -> tuple[np.ndarray, SpeedMeter]:
  """Writes the MP4 while it is made; -> its frames, how long they took."""
  speed, chunks, fps = SpeedMeter(), [], director.cfg.film.fps
  scale = media.watchable_scale(director.cfg.film.height)
  rolled = director.roll(([chunk] for chunk in said), [seed], given_BFYXC)
  given = opening.whole_chunks(director, given_BFYXC)
  frames = _frames(rolled, given, speed, chunks, total)
  media.write_video(folder / 'film.mp4', frames, fps, scale=scale)
  return np.concatenate(chunks), speed


def _account(
  director: Director,
  film: screenplay.Film,
  folder: pathlib.Path,
  video_TYXC: np.ndarray,
  speed: SpeedMeter,
) -> dict[str, object]:
  """Writes the sheet; -> the report."""
  cfg = director.cfg
  rows = sheet.film_rows(film, director.timeline)
  page = sheet.contact_sheet(video_TYXC, rows, cfg.film.fps, film.title)
  media.save_image(folder / 'contact_sheet.png', page)
  return {
    'shots': rows[-1].shot + 1,
    'frames': len(video_TYXC),
    'fps': cfg.film.fps,
    'pixel_fps': speed.pixel_fps,
    'first_chunk_secs': speed.first_chunk_secs,
    **measure(video_TYXC, rows),
  }


def measure(
  video_TYXC: np.ndarray, rows: Sequence[sheet.Row]
) -> dict[str, object]:
  """The figures that follow from the pixels alone."""
  figures = prompts.cut_metrics(cuts.detect_cuts(video_TYXC), rows)
  names = ('place', 'size', 'action', 'recall', 'segments')
  figures |= dict.fromkeys(names)
  if prompts.is_readable(video_TYXC, rows):
    readings = read_back.read_frames(video_TYXC)
    pairs = [
      recall.film_recall_pair(readings, rows, *shots)
      for shots in recall.return_shots(rows)
    ]
    figures |= prompts.prompt_metrics(readings, rows)
    figures |= {
      'recall': recall.recall(pairs),
      'segments': prompts.describe_segments(readings, rows),
    }
  return figures


def _frames(
  rolled: Iterable[np.ndarray],
  given: int,
  speed: SpeedMeter,
  chunks: list[np.ndarray],
  total: int | None,
) -> Iterator[np.ndarray]:
  """Frame after frame; `chunks` keeps them, and `speed` takes the time of
  those that were not `given`."""
  console = Console(stderr=True)
  bar = Progress(
    TextColumn('directing'),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn('chunks {task.fields[note]}'),
    console=console,
    disable=not console.is_terminal,
  )
  with bar:
    task = bar.add_task('', total=total, note='')
    for number, video_BTYXC in enumerate(rolled):
      if number >= given:
        speed.mark(len(video_BTYXC[0]))
      chunks.append(video_BTYXC[0])
      rate = speed.pixel_fps
      bar.update(task, advance=1, note=f'{rate:.3g} fps' if rate else '')
      yield from video_BTYXC[0]


def _summary(report: dict[str, object]) -> str:
  told = [f'{report["frames"]} frames in {report["shots"]} shots']
  for name in ('sca', 'place', 'size', 'action', 'recall', 'pixel_fps'):
    if report[name] is not None:
      told.append(f'{name} {report[name]:.3g}')
  return ', '.join(told)


if __name__ == '__main__':
  define_flags()
  command.run(main)
