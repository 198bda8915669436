"""Measures a model on films that no training has seen.

  python -m cinejax.evaluate --config=configs/story.py \\
    --weights=weights/story --out=DIR [--films=N] [--seeds=K] \\
    [--policies=camr,window,…] [--metrics=given,swap,generated,codec] \\
    [--config.eval.kind=eval|long|strict|minutes] [--config.eval.seed=…]

DIR/report.json and DIR/report.md have each metric of each policy as
{mean, std, n}, over films and, with several sampling seeds, over seeds; split
by kind of return and by absence; and along the film. DIR/*.png draw it.
DIR/POLICY/ has contact sheets of the best, median and worst generated film,
by recall and then place, and films/ all films of the first seed. Of a film's
returns the main one alone counts, but for drift.

  given      recall_given; route_hit_L and route_share_L of each layer L;
             unreadable_given
  swap       recall_swap: how often the look follows a swap in the history
  generated  place, size, action, sca, nsd, transition_deviation, false_cuts,
             flicker, motion, unreadable, recall, look_bits, pixel_fps;
             intra_X, inter_X and inter_same_X (shots of one character) for
             each X of config.eval.features, text_X where X knows words; drift
  codec      psnr, read_clean, read_codec: no base weights are needed

With --screenplay=FILE the films of that file are generated instead, at any
size: all of `generated` that needs no look at the story world, which is also
read where prompts and size are its own.

There is a chance for each recall. Definitions stand in evaluation/metrics/
(recall.py, story_film.py, cut_scores.py, consistency.py, drift.py, prompts.py)
and core/speed.py. Where config.rollout.commit is `fused`, chunks are committed
on their own, which makes the same films.

DIR/scores holds what is known of every film. A run that was stopped goes on
where it was; more films, seeds, policies or metrics only add to it. DIR is
refused if its scores are of other weights or settings.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from cinejax import command
from cinejax.config import Config
from cinejax.core import resources
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path, check_folder
from cinejax.directing.director import Director
from cinejax.directing.film_codec import FilmCodec
from cinejax.directing.loading import codec_on_devices, load_director
from cinejax.evaluation import suite
from cinejax.evaluation.metrics.film import make_instruments
from cinejax.evaluation.reports import plots, tables
from cinejax.evaluation.runner import examine
from cinejax.evaluation.score_store import Ledger, digest, write_json
from cinejax.evaluation.suite import Exam
from cinejax.film import screenplay
from cinejax.memory.config import POLICIES
from cinejax.story import world


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('weights', None, 'File or folder.', required=True)
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'films', None, 'Default: config.eval.films.', lower_bound=1
  )
  flags.DEFINE_integer('seeds', 1, 'Sampling seeds a film.', lower_bound=1)
  flags.DEFINE_list('policies', None, 'Default: config.memory.policy.')
  flags.DEFINE_list(
    'metrics', None, f'Some of {", ".join(suite.PARTS)}; default: three.'
  )
  flags.DEFINE_string('screenplay', None, 'Films to make instead of cast ones.')


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  known = ('generated',) if args.screenplay else suite.PARTS
  chosen = known[:3] if args.metrics is None else args.metrics
  parts = _some_of('metrics', chosen, known)
  policies = _some_of(
    'policies', args.policies or [cfg.memory.policy], POLICIES
  )
  own = screenplay.load(args.screenplay) if args.screenplay else ()
  if not own:
    world.check_size(cfg.film, 'give others by --screenplay')
  out = check_folder(args.out)
  instruments = make_instruments(cfg.eval)
  director = _load(cfg, args.weights, parts)
  films = own[: args.films] or suite.cast_films(
    director, args.films or cfg.eval.films
  )
  for film in own:
    director.check(film)
  ledger = Ledger(out, _settings(director, own))
  report = _facts(cfg, args, len(films))
  try:
    exam = Exam(director, films, instruments)
    for change in examine(exam, ledger, parts, policies, args.seeds, out):
      report = report | change
      _write(out, report)  # after each policy: a stopped run keeps the others
  except KeyboardInterrupt:
    print(
      f'stopped; {out} keeps what was scored, and the same command goes on',
      file=sys.stderr,
    )
    sys.exit(130)
  print((out / 'report.md').read_text())


def _some_of(flag: str, given: Sequence[str], known: Sequence[str]) -> list:
  for name in given:
    if name not in known:
      listed = ', '.join(known)
      raise UserError(f'--{flag} names {name}; it takes some of {listed}')
  if not given:
    raise UserError(f'--{flag} is empty; it takes some of {", ".join(known)}')
  return list(dict.fromkeys(given))


def _load(
  cfg: Config, weights: str, parts: Sequence[str]
) -> Director | FilmCodec:
  if list(parts) != ['codec']:
    return load_director(cfg, weights)
  return FilmCodec(cfg, *codec_on_devices(cfg, weights))


def _settings(
  director: Director | FilmCodec, films: Sequence[screenplay.Film]
) -> dict[str, Any]:
  """What scores depend on, beside policy, film and seed."""
  kept = ('film', 'codec', 'text', 'dit', 'memory', 'diffusion', 'rollout')
  cfg = dataclasses.asdict(director.cfg)
  settings = {name: cfg[name] for name in (*kept, 'eval')}
  for section, key in (
    ('memory', 'policy'),
    ('memory', 'training'),
    ('rollout', 'weights'),
    ('rollout', 'chunks_per_call'),
    ('eval', 'films'),
    ('eval', 'batch'),
  ):
    del settings[section][key]
  settings['rollout']['commit'] = director.cfg.rollout.commit_alone
  # The codec alone is measured without a network.
  network = director.params if isinstance(director, Director) else None
  return {
    'config': settings,
    'network': digest(network),
    'codec': digest(director.codec_params),
    'screenplay': _name_of(films),
  }


def _name_of(films: Sequence[screenplay.Film]) -> str:
  """The same for the same films, '' for none."""
  told = json.dumps([screenplay.document(film) for film in films])
  return hashlib.sha256(told.encode()).hexdigest()[:16] if films else ''


def _facts(cfg: Config, args: Any, count: int) -> dict[str, Any]:
  return {
    'command': command.line(),
    'name': cfg.name,
    'weights': args.weights,
    'kind': args.screenplay or cfg.eval.kind,
    'films': count,
    'seed': cfg.eval.seed,
    'seeds': args.seeds,
    'sampler': cfg.rollout.sampler,
    'steps': cfg.rollout.steps,
    'guidance': cfg.rollout.guidance,
    'cuts': cfg.eval.cuts,
    'matching': cfg.eval.matching,
    **resources.facts(),
    'policies': {},
  }


def _write(out: pathlib.Path, report: dict[str, Any]) -> None:
  if report['policies']:
    report = report | {'plots': plots.save_plots(report['policies'], out)}
  write_json(out / 'report.json', report)
  with atomic_path(out / 'report.md') as path:
    path.write_text(tables.markdown(report))


if __name__ == '__main__':
  define_flags()
  command.run(main)
