"""Evaluates a director on a benchmark case, policy by policy.

Films that the score store knows are not made again, so an interrupted
evaluation continues where it stopped, and a larger one only adds films.
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
from cinejax.evaluation.score_store import ScoreStore
from cinejax.evaluation.suite import BenchmarkCase
from cinejax.film import media, sheet
from cinejax.story import world

_RANKED = ('recall', 'place', 'sca')  # what makes a film good, in this order
_SHEET_ROWS = 24  # a longer film shows as many of its first and last segments


@dataclasses.dataclass(frozen=True)
class EvaluationRunner:
  """Scores all parts of a case under several memory policies."""

  case: BenchmarkCase  # the policy of its director does not matter
  store: ScoreStore
  parts: Sequence[str]  # some of suite.PARTS
  policies: Sequence[str]  # in the order in which they are evaluated
  seeds: int  # number of sampling seeds
  # OUT/POLICY receives contact sheets and the films of the first seed
  out: pathlib.Path

  def run(self) -> Iterator[dict[str, Any]]:
    """Yields sections of the report.

    After each policy this is `policies`, with all policies so far.
    """
    if 'codec' in self.parts:
      scores = self._scores(self.case, 'codec', 'codec')
      yield {'codec': summary.metrics([scores])}
    parts = [part for part in self.parts if part != 'codec']
    sections: dict[str, Any] = {}
    for policy in self.policies if parts else ():
      director = _with_policy(self.case.director, policy)
      case = dataclasses.replace(self.case, director=director)
      by_seed = [
        self._merged(case, parts, policy, seed) for seed in range(self.seeds)
      ]
      if 'generated' in parts:
        _save_sheets(case, by_seed[0], self.out / policy)
      sections = sections | {policy: _section(self.case, by_seed)}
      yield {'policies': sections}

  def _merged(
    self, case: BenchmarkCase, parts: Sequence[str], policy: str, seed: int
  ) -> list[FilmScore]:
    """The score of every film, with the values of all parts."""
    merged = [FilmScore({}, {})] * len(case.films)
    for part in parts:
      is_saved = part == 'generated' and seed == 0
      folder = _films_folder(self.out / policy) if is_saved else None
      name = f'{policy}.{part}.{seed}'
      scores = self._scores(case, part, name, seed, folder)
      merged = [a | b for a, b in zip(merged, scores, strict=True)]
    return merged

  def _scores(
    self,
    case: BenchmarkCase,
    part: str,
    name: str,
    seed: int = 0,
    folder: pathlib.Path | None = None,
  ) -> list[FilmScore]:
    """The score of every film; those that the store lacks are added to it."""
    known, total = self.store.scores(name), len(case.films)
    missing = [
      number
      for number in range(total)
      if number not in known
      or (folder and not saved_films.film_path(folder, number).is_file())
    ]
    label = name.replace('.', ', ')
    with _progress() as bar:
      task = bar.add_task(label, total=total, completed=total - len(missing))
      for batch in case.batches(part, missing):
        self.store.add(name, case.score_batch(part, batch, seed, folder))
        bar.advance(task, len(batch))
        if not bar.console.is_terminal:
          count = int(bar.tasks[task].completed)
          text = f'{label}: {count} of {total} films'
          bar.console.print(text, highlight=False)
    known = self.store.scores(name)
    return [known[number] for number in range(total)]


def _section(case: BenchmarkCase, by_seed: summary.BySeed) -> dict[str, Any]:
  timeline = case.director.timeline
  lengths_secs = [
    sheet.film_rows(suite.as_screenplay(film), timeline)[-1].stop / timeline.fps
    for film in case.films
  ]
  cast = [film for film in case.films if isinstance(film, world.StoryFilm)]
  return summary.policy_report(
    by_seed, lengths_secs, [film.events[0] for film in cast]
  )


def _progress() -> Progress:
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


def _save_sheets(
  case: BenchmarkCase, scores: Sequence[FilmScore], folder: pathlib.Path
) -> None:
  """Writes contact sheets of the best, median and worst film.

  Films are ranked by recall, then place, then sca.
  """

  def ranked_values(number: int) -> dict[str, float]:
    values = scores[number].values
    return {n: values[n] for n in _RANKED if values.get(n) is not None}

  def rank(number: int) -> list[float]:
    return [ranked_values(number).get(name, -1.0) for name in _RANKED]

  order = sorted(range(len(scores)), key=rank)
  chosen = {'worst': 0, 'median': len(order) // 2, 'best': -1}
  cfg, timeline = case.director.cfg.film, case.director.timeline
  for name, at in chosen.items():
    number = order[at]
    rows = sheet.film_rows(suite.as_screenplay(case.films[number]), timeline)
    path = saved_films.film_path(_films_folder(folder), number)
    values = [f'{k} {value:.2f}' for k, value in ranked_values(number).items()]
    page = sheet.contact_sheet(
      saved_films.read(path, cfg.height, cfg.width),
      sheet.shortened(rows, _SHEET_ROWS),
      cfg.fps,
      f'{folder.name}, {name}: film {number}, {", ".join(values)}',
    )
    media.save_image(folder / f'{name}.png', page)


def _films_folder(folder: pathlib.Path) -> pathlib.Path:
  return folder / 'films'


def _with_policy(director: Director, policy: str) -> Director:
  cfg = director.cfg
  cfg = dataclasses.replace(
    cfg,
    memory=dataclasses.replace(cfg.memory, policy=policy),
    rollout=dataclasses.replace(cfg.rollout, commit=cfg.rollout.unfused_commit),
  )
  return dataclasses.replace(director, cfg=cfg)
