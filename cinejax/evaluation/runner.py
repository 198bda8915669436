"""Puts a director through its exam, policy by policy, and reports.

What the ledger knows of a film is not asked again, so an exam that was
stopped goes on, and one that grows only adds.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  TextColumn,
  TimeRemainingColumn,
)

from cinejax.directing.director import Director
from cinejax.evaluation import saved_films, suite
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.evaluation.reports import summary
from cinejax.evaluation.score_store import Ledger
from cinejax.evaluation.suite import Exam
from cinejax.film import media, sheet
from cinejax.story import world

_RANKED = ('recall', 'place', 'sca')  # what makes a film good, in order
_SHEET_ROWS = 24  # of a longer film the first and the last ones are shown


def examine(
  exam: Exam,
  ledger: Ledger,
  parts: Sequence[str],
  policies: Sequence[str],
  seeds: int,
  out: pathlib.Path,
) -> Iterator[dict[str, Any]]:
  """The report's sections, after each policy all that is known by then.

  Args:
    exam: its director's own policy does not matter.
    ledger: of the films scored so far.
    parts: some of suite.PARTS.
    policies: to examine, in this order.
    seeds: how many sampling seeds.
    out: folder; OUT/POLICY gets films of the first seed and contact sheets.
  """
  if 'codec' in parts:
    found = _scores(exam, ledger, 'codec', 'codec')
    yield {'codec': summary.metrics([found])}
  parts = [part for part in parts if part != 'codec']
  done: dict[str, Any] = {}
  for policy in policies if parts else ():
    own = dataclasses.replace(exam, director=_with(exam.director, policy))
    by_seed = [
      _merged(own, ledger, parts, policy, seed, out) for seed in range(seeds)
    ]
    if 'generated' in parts:
      _sheets(own, by_seed[0], out / policy)
    done = done | {policy: _section(exam, by_seed)}
    yield {'policies': done}


def _section(exam: Exam, by_seed: summary.BySeed) -> dict[str, Any]:
  line = exam.director.timeline
  lengths = [
    sheet.film_rows(suite.as_screenplay(film), line)[-1].stop / line.fps
    for film in exam.films
  ]
  cast = [film for film in exam.films if isinstance(film, world.StoryFilm)]
  return summary.policy_report(
    by_seed, lengths, [film.events[0] for film in cast]
  )


def _merged(
  exam: Exam,
  ledger: Ledger,
  parts: Sequence[str],
  policy: str,
  seed: int,
  out: pathlib.Path,
) -> list[FilmScore]:
  """All parts of every film's score."""
  merged = [FilmScore({}, {})] * len(exam.films)
  for part in parts:
    shown = part == 'generated' and seed == 0
    keep = _films(out / policy) if shown else None
    name = f'{policy}.{part}.{seed}'
    found = _scores(exam, ledger, part, name, seed, keep)
    merged = [a | b for a, b in zip(merged, found, strict=True)]
  return merged


def _scores(
  exam: Exam,
  ledger: Ledger,
  part: str,
  name: str,
  seed: int = 0,
  keep: pathlib.Path | None = None,
) -> list[FilmScore]:
  """Of every film; those that the ledger lacks are scored, and entered."""
  known, total = ledger.scores(name), len(exam.films)
  missing = [
    number
    for number in range(total)
    if number not in known
    or (keep and not saved_films.film_path(keep, number).is_file())
  ]
  what = name.replace('.', ', ')
  with _bar() as bar:
    task = bar.add_task(what, total=total, completed=total - len(missing))
    for batch in exam.batches(part, missing):
      ledger.add(name, exam.take(part, batch, seed, keep))
      bar.advance(task, len(batch))
      if not bar.console.is_terminal:
        count = int(bar.tasks[task].completed)
        bar.console.print(f'{what}: {count} of {total} films', highlight=False)
  known = ledger.scores(name)
  return [known[number] for number in range(total)]


def _bar() -> Progress:
  console = Console(stderr=True)
  return Progress(
    TextColumn('{task.description}'),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn('films'),
    TimeRemainingColumn(),
    console=console,
    disable=not console.is_terminal,
  )


def _sheets(
  exam: Exam, found: Sequence[FilmScore], folder: pathlib.Path
) -> None:
  """The best, median and worst film, by recall, then place, then cuts."""

  def known(number: int) -> dict[str, float]:
    values = found[number].values
    return {n: values[n] for n in _RANKED if values.get(n) is not None}

  def rank(number: int) -> list[float]:
    return [known(number).get(name, -1.0) for name in _RANKED]

  order = sorted(range(len(found)), key=rank)
  chosen = {'worst': 0, 'median': len(order) // 2, 'best': -1}
  cfg, line = exam.director.cfg.film, exam.director.timeline
  for name, at in chosen.items():
    number = order[at]
    rows = sheet.film_rows(suite.as_screenplay(exam.films[number]), line)
    if len(rows) > _SHEET_ROWS:
      rows = rows[: _SHEET_ROWS // 2] + rows[-_SHEET_ROWS // 2 :]
    spans = [(row.start, row.stop) for row in rows]
    path = saved_films.film_path(_films(folder), number)
    told = [f'{key} {value:.2f}' for key, value in known(number).items()]
    page = sheet.contact_sheet(
      saved_films.read(path, cfg.height, cfg.width, spans),
      rows,
      cfg.fps,
      f'{folder.name}, {name}: film {number}, {", ".join(told)}',
    )
    media.save_image(folder / f'{name}.png', page)


def _films(folder: pathlib.Path) -> pathlib.Path:
  return folder / 'films'


def _with(director: Director, policy: str) -> Director:
  cfg = director.cfg
  cfg = dataclasses.replace(
    cfg,
    memory=dataclasses.replace(cfg.memory, policy=policy),
    rollout=dataclasses.replace(cfg.rollout, commit=cfg.rollout.commit_alone),
  )
  return dataclasses.replace(director, cfg=cfg)
