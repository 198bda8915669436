"""Evaluates a model on films that no training has used.

  python -m cinejax.evaluate --config=configs/story.py \\
    --weights=weights/story --out=DIR [--films=N] [--seeds=K] \\
    [--lora=FILE:0.8] \\
    [--policies=camr,window,…] \\
    [--metrics=given,swap,generated,cast,bank,codec] \\
    [--config.eval.kind=eval|long|strict|minutes] [--config.eval.seed=…]

DIR/report.json and DIR/report.md hold every metric of every policy as
{mean, std, n}: over films and, if there are several sampling seeds, over seeds;
by kind of return and by length of absence; and along the film. DIR/*.png are
plots of them. DIR/POLICY/ holds contact sheets of the best, median and worst
generated film, ranked by recall and then place, and in films/ all films of the
first seed. Only the main return of a film counts, except for drift.

  given      recall_given; route_hit_L and route_share_L of each layer L;
             unreadable_given
  swap       recall_swap: how often the appearance follows one that was
             swapped in the given past
  generated  place, size, action, sca, nsd, transition_deviation, false_cuts,
             flicker, motion, unreadable, recall, appearance_bits, pixel_fps;
             intra_X, inter_X and inter_same_X (shots of one character) for
             each X of config.eval.features, text_X if X embeds text; drift
  cast       recall_cast: the same of the first shot of a character of whom only
             one picture is given; cast_hit_L and cast_share_L, as route_hit_L
             and route_share_L; unreadable_cast
  bank       psnr_bank, of the return shot of `given` beside the one with a bank
             that holds all frames as they are computed; bank_bytes
  codec      psnr, read_clean, read_codec; needs no base weights

With --screenplay=FILE the films of that file, of any size, are generated
instead. They get all metrics of `generated` that need no story world; those
that do are added if prompts and size are of the story world.

With --questions=FILE the films of that file are generated, and
--answer_command='COMMAND' is run with the path of each film and a question
about it, and prints the answer: `right` and right_X for each dimension X
(evaluation/questions.py).

Each recall comes with its chance, and with those of the hue, the shape and the
pattern alone, as recall_given_hue and recall_given_hue_chance. Metrics are
defined in evaluation/metrics/ (recall.py, story_film.py, cut_scores.py,
consistency.py, drift.py, prompts.py) and core/speed.py. If
config.rollout.commit is `fused`, chunks are committed separately, which makes
the same films.

DIR/scores holds the score of every film. The same command continues a run that
was interrupted; more films, seeds, policies or metrics add to what is there.
The command refuses a DIR whose scores are of other weights or settings.
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
from cinejax.core.files import atomic_path, check_folder, write_json
from cinejax.directing.director import Director, apply_settings
from cinejax.directing.film_codec import FilmCodec
from cinejax.directing.loading import codec_on_devices, load_director
from cinejax.evaluation import questions, suite
from cinejax.evaluation.metrics.film import make_instruments
from cinejax.evaluation.reports import plots, tables
from cinejax.evaluation.runner import EvaluationRunner
from cinejax.evaluation.score_store import ScoreStore, digest
from cinejax.evaluation.suite import BenchmarkCase
from cinejax.film import screenplay
from cinejax.film.cast import embedded
from cinejax.film.config import FilmConfig
from cinejax.film.journal import Settings
from cinejax.memory.config import POLICIES
from cinejax.story import world


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('weights', None, 'A file or a folder.', required=True)
  flags.DEFINE_multi_string(
    'lora', [], 'Adapter to merge, FILE or FILE:STRENGTH; may be repeated.'
  )
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'films', None, 'Default: config.eval.films.', lower_bound=1
  )
  flags.DEFINE_integer('seeds', 1, 'Sampling seeds per film.', lower_bound=1)
  flags.DEFINE_list('policies', None, 'Default: config.memory.policy.')
  flags.DEFINE_list(
    'metrics',
    None,
    f'Some of {", ".join(suite.PARTS)}; default: the first three.',
  )
  flags.DEFINE_string(
    'screenplay', None, 'File or folder of films to generate instead.'
  )
  flags.DEFINE_string(
    'questions', None, 'File of films to generate, with questions about them.'
  )
  flags.DEFINE_string(
    'answer_command',
    None,
    'Command that answers --questions; gets a film and a question.',
  )


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.screenplay and args.questions:
    raise UserError('give --screenplay or --questions, and only one of them')
  if bool(args.questions) != bool(args.answer_command):
    raise UserError('--questions and --answer_command need each other')
  given = args.screenplay or args.questions
  known = ('generated',) if given else suite.PARTS
  chosen = known[:3] if args.metrics is None else args.metrics
  parts = _some_of('metrics', chosen, known)
  policies = _some_of(
    'policies', args.policies or [cfg.memory.policy], POLICIES
  )
  for policy in policies:  # refuses those that do not go with the memory
    apply_settings(cfg, Settings(policy=policy))
  cases = _cases(args)
  own = tuple(case.film for case in cases)
  if not own:
    world.check_size(cfg.film, 'give others by --screenplay')
  out = check_folder(args.out)
  instruments = make_instruments(cfg.eval)
  director = _load(cfg, args.weights, parts, args.lora)
  films = own[: args.films] or suite.cast_films(
    director, args.films or cfg.eval.films
  )
  for film in own:
    director.check(film)
  asked = _questions_digest(cases, args.answer_command)
  store = ScoreStore(out, _settings(director, own) | asked)
  report = _header(cfg, args, len(films))
  try:
    runner = EvaluationRunner(
      BenchmarkCase(
        director,
        films,
        instruments,
        [case.questions for case in cases] if args.questions else (),
        questions.make_answer_fn(args.answer_command or ''),
      ),
      store,
      parts,
      policies,
      args.seeds,
      out,
    )
    for sections in runner.run():
      report = report | sections
      # After each policy, so that an interrupted run has those before.
      _write(out, report)
  except KeyboardInterrupt:
    print(
      f'stopped; {out} has the scores so far, and the same command continues',
      file=sys.stderr,
    )
    sys.exit(130)
  print((out / 'report.md').read_text())


def _cases(args: Any) -> tuple[questions.Case, ...]:
  """The films of --screenplay or --questions; () for films of the story."""
  if args.questions:
    return questions.load(pathlib.Path(args.questions))
  films = screenplay.load(args.screenplay) if args.screenplay else ()
  return tuple(questions.Case(film, ()) for film in films)


def _some_of(flag: str, given: Sequence[str], known: Sequence[str]) -> list:
  for name in given:
    if name not in known:
      listed = ', '.join(known)
      raise UserError(f'--{flag} names {name}; it takes some of {listed}')
  if not given:
    raise UserError(f'--{flag} is empty; it takes some of {", ".join(known)}')
  return list(dict.fromkeys(given))


def _load(
  cfg: Config, weights: str, parts: Sequence[str], adapters: Sequence[str]
) -> Director | FilmCodec:
  if list(parts) != ['codec']:
    return load_director(cfg, weights, adapters)
  if adapters:
    raise UserError('--metrics=codec reads no network; leave out --lora')
  return FilmCodec(cfg, *codec_on_devices(cfg, weights))


def _settings(
  director: Director | FilmCodec, films: Sequence[screenplay.Film]
) -> dict[str, Any]:
  """Everything that scores depend on, except policy, film and seed."""
  sections = ('film', 'codec', 'text', 'dit', 'memory', 'diffusion', 'rollout')
  cfg = dataclasses.asdict(director.cfg)
  settings = {name: cfg[name] for name in (*sections, 'eval')}
  for section, key in (
    ('memory', 'policy'),
    ('memory', 'training'),
    ('rollout', 'weights'),
    ('rollout', 'chunks_per_call'),
    ('eval', 'films'),
    ('eval', 'batch'),
  ):
    del settings[section][key]
  settings['rollout']['commit'] = director.cfg.rollout.unfused_commit
  # The codec alone is measured without a network.
  network = director.params if isinstance(director, Director) else None
  return {
    'config': settings,
    'network': digest(network),
    'codec': digest(director.codec_params),
    'screenplay': _films_digest(films, director.cfg.film),
  }


def _films_digest(films: Sequence[screenplay.Film], cfg: FilmConfig) -> str:
  """Sixteen hex digits that identify the films; '' if there are none.

  Pictures of a cast are identified by what they show.
  """
  text = json.dumps(
    [
      screenplay.document(
        dataclasses.replace(
          film,
          cast=tuple(embedded(one, cfg.height, cfg.width) for one in film.cast),
        )
      )
      for film in films
    ]
  )
  return hashlib.sha256(text.encode()).hexdigest()[:16] if films else ''


def _questions_digest(
  cases: Sequence[questions.Case], command: str | None
) -> dict[str, str]:
  """What scores depend on besides if questions are asked; else {}."""
  if not command:
    return {}
  text = json.dumps([command, [case.questions for case in cases]])
  return {'questions': hashlib.sha256(text.encode()).hexdigest()[:16]}


def _header(cfg: Config, args: Any, count: int) -> dict[str, Any]:
  return {
    'command': command.line(),
    'name': cfg.name,
    'weights': args.weights,
    'lora': args.lora,
    'kind': args.screenplay or args.questions or cfg.eval.kind,
    'films': count,
    'seed': cfg.eval.seed,
    'seeds': args.seeds,
    'sampler': cfg.rollout.sampler,
    'steps': cfg.rollout.steps,
    'guidance': cfg.rollout.guidance,
    'cuts': cfg.eval.cuts,
    'matching': cfg.eval.matching,
    **resources.environment(),
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
