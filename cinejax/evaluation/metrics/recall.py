"""Whether a returning character has the appearance it had before.

A recall pair is the appearance d that a return shot shows, the most frequent
one over its frames, and the appearance w that it should show. Unreadable
appearances (-1) count as wrong. Over the pairs i of n films:

  recall = 1/n sum_i [d_i = w_i, d_i readable]                            (1)
  chance = 1/(n (n - 1)) sum_{i != j} [d_i = w_j, d_i readable]           (2)
  bits   = -sum_k p_k log2 p_k,  p_k the share of appearance k            (3)

(2) is the exact mean of (1) over all ways of pairing each film with the
expected appearance of another. Both are also taken of the hue, the shape and
the pattern of appearances alone. A model that always draws the same appearance
has recall 1, but also chance 1 and 0 bits; claims are therefore made on
recall - chance.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from cinejax.evaluation.metrics.prompts import mean, requested_segments
from cinejax.film.sheet import Row
from cinejax.memory.bank import EMPTY
from cinejax.story import read_back, world


class RecallPair(NamedTuple):
  """The appearance that was drawn and the one that was expected."""

  drawn: int  # index of world.APPEARANCES, -1 if unreadable
  expected: int  # likewise


def is_right(pair: RecallPair) -> bool:
  """Whether the drawn appearance is readable and the expected one."""
  return pair.drawn >= 0 and pair.drawn == pair.expected


def recall(pairs: Sequence[RecallPair]) -> float | None:
  """Eq. (1); None if there are no pairs."""
  return mean([is_right(pair) for pair in pairs])


def chance(pairs: Sequence[RecallPair]) -> float | None:
  """Eq. (2); None if there are fewer than two pairs."""
  if len(pairs) < 2:
    return None
  drawn_n, expected_n = np.asarray(pairs).T
  match_nn = (drawn_n[:, None] == expected_n[None]) & (drawn_n >= 0)[:, None]
  np.fill_diagonal(match_nn, False)
  return float(match_nn.sum() / (len(pairs) * (len(pairs) - 1)))


def attribute(pair: RecallPair, name: str) -> RecallPair:
  """The pair of one attribute alone, a field of world.Appearance."""
  drawn, expected = (
    getattr(world.APPEARANCES[k], name) if k >= 0 else -1 for k in pair
  )
  return RecallPair(drawn, expected)


def appearance_bits(appearances: Sequence[int]) -> float | None:
  """Eq. (3) over the readable appearances; None if there are none.

  At most log2 of the number of appearances.
  """
  readable = [k for k in appearances if k >= 0]
  _, counts = np.unique(readable, return_counts=True)
  share = counts / counts.sum()
  return float(abs((share * np.log2(share)).sum())) if len(counts) else None


def confusion(pairs: Sequence[RecallPair], appearances: int) -> np.ndarray:
  """Counts [expected, drawn]; the last column counts unreadable drawings.

  Pairs whose expected appearance is unreadable are left out, since nothing
  could match it.
  """
  counts = np.zeros((appearances, appearances + 1), int)
  for pair in pairs:
    if pair.expected >= 0:
      counts[pair.expected, pair.drawn] += 1  # -1 is the last column
  return counts


def shot_span(rows: Sequence[Row], shot: int) -> tuple[int, int]:
  """Pixel frames [start, stop) of a shot, which may be several segments."""
  own = [row for row in rows if row.shot == shot]
  return own[0].start, own[-1].stop


def shot_appearance(
  readings: read_back.Readings, rows: Sequence[Row], shot: int
) -> int:
  """The most frequent appearance in a shot's frames; -1 if unreadable."""
  return read_back.read_shot(readings, *shot_span(rows, shot)).appearance


def shot_characters(rows: Sequence[Row]) -> tuple[int | None, ...]:
  """The character that the prompts of each shot name first.

  None for a shot whose prompts are not in the story grammar.
  """
  characters: list[int | None] = [None] * (rows[-1].shot + 1)
  for row, segment in zip(rows, requested_segments(rows), strict=True):
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
  """Pairs of a character's first shot and a shot in which it returns.

  A character returns in a shot if the shot before shows somebody else.
  """
  characters, first = shot_characters(rows), first_shots(rows)
  return tuple(
    (first[character], shot)
    for shot, character in enumerate(characters)
    if character in first
    and first[character] < shot
    and characters[shot - 1] != character
  )


def film_recall_pair(
  readings: read_back.Readings, rows: Sequence[Row], first: int, again: int
) -> RecallPair:
  """The appearances in shot `again` and in shot `first` of one film."""
  drawn, expected = (
    shot_appearance(readings, rows, shot) for shot in (again, first)
  )
  return RecallPair(drawn, expected)


def routing_metrics(
  frame_JLR: np.ndarray, character_frames: Collection[int], name: str = 'route'
) -> dict[str, float | None]:
  """What the chunk of a return reads from memory, in each layer l.

  route_hit_l is the share of denoising steps in which at least one routed
  frame shows the returning character; route_share_l is the mean share of
  routed frames that do. Both are over the J denoising steps in which anything
  is routed, and None if nothing ever is. `name` stands for `route` if it is
  another.

  Args:
    frame_JLR: latent frames routed, EMPTY where fewer than R are; [J, L, H, R]
      if heads choose apart, which are counted together.
    character_frames: the latent frames that show the returning character.
    name: with which the metrics begin.
  """
  metrics = {}
  frame_JLR = frame_JLR.reshape(*frame_JLR.shape[:2], -1)
  routed_JLR = frame_JLR != EMPTY
  hit_JLR = np.isin(frame_JLR, sorted(character_frames)) & routed_JLR
  for layer in range(frame_JLR.shape[1]):
    count_J = routed_JLR[:, layer].sum(-1)
    hits_J = hit_JLR[:, layer].sum(-1)[count_J > 0]
    share_J = hits_J / count_J[count_J > 0]
    metrics[f'{name}_hit_{layer}'] = mean(hits_J > 0)
    metrics[f'{name}_share_{layer}'] = mean(share_J)
  return metrics
