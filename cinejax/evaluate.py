"""Measures a model on story films that no training has seen.

  python -m cinejax.evaluate --config=configs/story.py \\
    --weights=weights/story --out=DIR [--films=N] \\
    [--policies=camr,window,…] [--metrics=given,swap,generated,codec] \\
    [--config.eval.kind=eval|long|strict] [--config.eval.seed=…]

DIR/report.json and DIR/report.md have each metric of each policy as
{mean, std, n}, of all films and split by kind of return and by absence;
DIR/POLICY/ has contact sheets of the best, median and worst generated film,
by recall and then place. Of a film's returns the main one alone counts.

  given      recall_given; route_hit_L and route_share_L of each layer L;
             unreadable_given
  swap       recall_swap: how often the look follows a swap in the history
  generated  place, size, action, sca, nsd, false_cuts, flicker, unreadable,
             recall, look_bits, pixel_fps
  codec      psnr, read_clean, read_codec: no base weights are needed

and a chance for each recall. Definitions stand in evaluation/ (recall.py,
scores.py, shots.py, speed.py, story.py). Chunks are committed on their own
whatever config.rollout.commit says: `fused` makes the same films.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command, exams
from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path, check_folder
from cinejax.director import Director, load_director
from cinejax.evaluation import report as report_lib
from cinejax.evaluation.scores import FilmScore
from cinejax.film import media, sheet
from cinejax.interop.weights import load_codec
from cinejax.memory.config import POLICIES
from cinejax.story import world

METRICS = ('given', 'swap', 'generated', 'codec')


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('weights', None, 'File or folder.', required=True)
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'films', None, 'Default: config.eval.films.', lower_bound=1
  )
  flags.DEFINE_list('policies', None, 'Default: config.memory.policy.')
  flags.DEFINE_list(
    'metrics', list(METRICS[:3]), f'Some of {", ".join(METRICS)}.'
  )


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  parts = _some_of('metrics', args.metrics, METRICS)
  policies = _some_of(
    'policies', args.policies or [cfg.memory.policy], POLICIES
  )
  if (cfg.film.height, cfg.film.width) != (world.HEIGHT, world.WIDTH):
    raise UserError(
      f'config.film is {cfg.film.width}x{cfg.film.height} pixels; evaluate '
      f'measures story films, {world.WIDTH}x{world.HEIGHT}'
    )
  out = check_folder(args.out)
  director = _load(cfg, args.weights, parts)
  films = exams.cast_films(director, args.films or cfg.eval.films)
  report = _facts(cfg, args.weights, len(films))
  try:
    for change in _examine(director, films, parts, policies, out):
      report = report | change
      _write(out, report)  # after each policy: a stopped run keeps the others
  except KeyboardInterrupt:
    print(f'stopped; {out} has the policies that were done', file=sys.stderr)
    sys.exit(130)
  print((out / 'report.md').read_text())


def _examine(
  director: Director,
  films: Sequence[world.StoryFilm],
  parts: Sequence[str],
  policies: Sequence[str],
  out: pathlib.Path,
) -> Iterator[dict[str, Any]]:
  """The report's sections, as they come to be known."""
  done: dict[str, Any] = {}
  console = Console(stderr=True)
  with Progress(console=console, disable=not console.is_terminal) as bar:

    def track(batches: Sequence[Any], what: str):
      return bar.track(batches, description=what)

    if 'codec' in parts:
      found = exams.through_codec(director, films, track)
      yield {'codec': report_lib.metrics(found)}
    for policy in policies if set(parts) - {'codec'} else ():
      own = _with_policy(director, policy)
      done = done | {policy: _policy(own, films, parts, out / policy, track)}
      yield {'policies': done}


def _policy(director, films, parts, folder, track) -> dict[str, Any]:
  """One policy's part of the report; its sheets are written."""
  found, rates = [FilmScore({}, {})] * len(films), {}
  if 'given' in parts or 'swap' in parts:
    given = exams.after_rendered(director, films, 'swap' in parts, track)
    found = [a | b for a, b in zip(found, given, strict=True)]
  if 'generated' in parts:
    made = exams.whole(director, films, track)
    found = [a | b for a, b in zip(found, made.scores, strict=True)]
    rates = {'pixel_fps': report_lib.summary(made.pixel_fps)}
    _sheets(director, films, made, folder)
  section = report_lib.policy_report(films, found)
  return section | {'all': section['all'] | rates}


def _sheets(
  director: Director,
  films: Sequence[world.StoryFilm],
  made: exams.Whole,
  folder: pathlib.Path,
) -> None:
  """The best, median and worst film, by recall and then place."""

  def rank(number: int) -> tuple[float, ...]:
    values = made.scores[number].values
    return values['recall'], values['place'], values['sca']

  order = sorted(range(len(films)), key=rank)
  chosen = {'worst': 0, 'median': len(order) // 2, 'best': -1}
  for name, at in chosen.items():
    number = order[at]
    recalled, place, _ = rank(number)
    page = sheet.contact_sheet(
      made.videos[number],
      sheet.film_rows(films[number].screenplay(), director.timeline),
      director.cfg.film.fps,
      f'{folder.name}, {name}: film {number}, recall {recalled:.0f}, '
      f'place {place:.2f}',
    )
    media.save_image(folder / f'{name}.png', page)


def _some_of(flag: str, given: Sequence[str], known: Sequence[str]) -> list:
  for name in given:
    if name not in known:
      listed = ', '.join(known)
      raise UserError(f'--{flag} names {name}; it takes some of {listed}')
  if not given:
    raise UserError(f'--{flag} is empty; it takes some of {", ".join(known)}')
  return list(dict.fromkeys(given))


def _load(cfg: Config, weights: str, parts: Sequence[str]) -> Director:
  if list(parts) != ['codec']:
    return load_director(cfg, weights)
  path = cfg.train.codec_weights or weights
  return Director(cfg, None, *load_codec(cfg.codec, path))


def _with_policy(director: Director, policy: str) -> Director:
  cfg = director.cfg
  cfg = dataclasses.replace(
    cfg,
    memory=dataclasses.replace(cfg.memory, policy=policy),
    rollout=dataclasses.replace(cfg.rollout, commit='separate'),
  )
  return dataclasses.replace(director, cfg=cfg)


def _facts(cfg: Config, weights: str, count: int) -> dict[str, Any]:
  return {
    'name': cfg.name,
    'weights': weights,
    'kind': cfg.eval.kind,
    'films': count,
    'seed': cfg.eval.seed,
    'steps': cfg.rollout.steps,
    'guidance': cfg.rollout.guidance,
    'device': jax.devices()[0].device_kind,
    'jax': jax.__version__,
    'policies': {},
  }


def _write(out: pathlib.Path, report: dict[str, Any]) -> None:
  with atomic_path(out / 'report.json') as path:
    path.write_text(json.dumps(report, indent=2) + '\n')
  with atomic_path(out / 'report.md') as path:
    path.write_text(report_lib.markdown(report))


if __name__ == '__main__':
  define_flags()
  command.run(main)
