"""Is she drawn as she was, when she returns?

A draw is the modal look d of a return shot and the look w it should have;
unreadable looks (-1) are wrong. Over draws i of n films:

  recall = 1/n sum_i [d_i = w_i, d_i readable]                            (1)
  chance = 1/(n (n - 1)) sum_{i != j} [d_i = w_j, d_i readable]           (2)
  bits   = -sum_k p_k log2 p_k,  p_k the share of look k                  (3)

(2) is the exact mean of (1) over all ways of giving every film the event of
another. A model that always draws one look has recall 1, but chance 1 and 0
bits too; so claims are made on recall - chance.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from cinejax.evaluation.metrics.prompts import asked, mean
from cinejax.film.sheet import Row
from cinejax.story import read_back


class Draw(NamedTuple):
  drawn: int  # index of world.APPEARANCES, -1 if unreadable
  wanted: int  # the same


def is_right(draw: Draw) -> bool:
  return draw.drawn >= 0 and draw.drawn == draw.wanted


def recall(draws: Sequence[Draw]) -> float | None:
  """Eq. (1)."""
  return mean([is_right(draw) for draw in draws])


def chance(draws: Sequence[Draw]) -> float | None:
  """Eq. (2); None of fewer than two draws."""
  if len(draws) < 2:
    return None
  drawn_n, wanted_n = np.asarray(draws).T
  match_nn = (drawn_n[:, None] == wanted_n[None]) & (drawn_n >= 0)[:, None]
  np.fill_diagonal(match_nn, False)
  return float(match_nn.sum() / (len(draws) * (len(draws) - 1)))


def look_bits(looks: Sequence[int]) -> float | None:
  """Eq. (3), of the readable ones; at most log2 of the number of looks."""
  _, counts = np.unique([k for k in looks if k >= 0], return_counts=True)
  share = counts / counts.sum()
  return float(abs((share * np.log2(share)).sum())) if len(counts) else None


def confusion(draws: Sequence[Draw], looks: int) -> np.ndarray:
  """Counts [wanted look, drawn look]; the last column is unreadable.

  Draws whose wanted look is unreadable are left out: nothing could match.
  """
  counts = np.zeros((looks, looks + 1), int)
  for draw in draws:
    if draw.wanted >= 0:
      counts[draw.wanted, draw.drawn] += 1  # -1 is the last
  return counts


def shot_span(rows: Sequence[Row], shot: int) -> tuple[int, int]:
  """Pixel frames [start, stop) of a shot, which may be several segments."""
  own = [row for row in rows if row.shot == shot]
  return own[0].start, own[-1].stop


def shot_look(
  readings: read_back.Readings, rows: Sequence[Row], shot: int
) -> int:
  """The modal look over the shot's frames; -1 if that is unreadable."""
  return read_back.read_shot(readings, *shot_span(rows, shot)).appearance


def shot_characters(rows: Sequence[Row]) -> tuple[int | None, ...]:
  """Who each shot's prompts name first; None outside the story grammar."""
  characters: list[int | None] = [None] * (rows[-1].shot + 1)
  for row, segment in zip(rows, asked(rows), strict=True):
    if segment is not None and characters[row.shot] is None:
      characters[row.shot] = segment.character
  return tuple(characters)


def first_shots(rows: Sequence[Row]) -> dict[int, int]:
  """The shot in which each character is first seen."""
  first: dict[int, int] = {}
  for shot, character in enumerate(shot_characters(rows)):
    if character is not None:
      first.setdefault(character, shot)
  return first


def return_shots(rows: Sequence[Row]) -> tuple[tuple[int, int], ...]:
  """(her first shot, shot in which she is back after another was seen)."""
  characters, first = shot_characters(rows), first_shots(rows)
  return tuple(
    (first[character], shot)
    for shot, character in enumerate(characters)
    if character in first
    and first[character] < shot
    and characters[shot - 1] != character
  )


def film_draw(
  readings: read_back.Readings, rows: Sequence[Row], first: int, again: int
) -> Draw:
  """How a generated film draws shot `again`, against its own shot `first`."""
  return Draw(*(shot_look(readings, rows, shot) for shot in (again, first)))


def routing_figures(
  frame_JLR: np.ndarray, her_frames: Collection[int]
) -> dict[str, float | None]:
  """What a chunk that brings her back reads, for each layer l.

  route_hit_l is how often at least one of the routed frames shows her,
  route_share_l how large a part of them does, both over the J denoising
  steps in which anything is routed; None if nothing ever is.

  Args:
    frame_JLR: latent frames routed, negative where fewer than R are.
    her_frames: the latent frames that show her.
  """
  figures = {}
  routed_JLR = frame_JLR >= 0
  hers_JLR = np.isin(frame_JLR, sorted(her_frames)) & routed_JLR
  for layer in range(frame_JLR.shape[1]):
    count_J = routed_JLR[:, layer].sum(-1)
    hers_J = hers_JLR[:, layer].sum(-1)[count_J > 0]
    share_J = hers_J / count_J[count_J > 0]
    figures[f'route_hit_{layer}'] = mean(hers_J > 0)
    figures[f'route_share_{layer}'] = mean(share_J)
  return figures
