"""Who is seen when: films cast so that a return can only be remembered.

A *return event* at chunk r is a cut to a character last on screen in chunk a
with r - a - 1 >= V / F absent chunks: no frame of hers is in the window of
chunk r. Kind `opening`: hers was chunk 0; kind `later`: it was not, so that
no attention sink shows her either.

  train   N 6..11: three-shot films A B A, rounds A B C A B C, and free ones
  eval    N 10 or 11, S 5..8, a third opening, two thirds later, exactly
  long    N 40, kinds as in eval
  single  N 6..11, one shot, nobody returns: what cuts cannot be learned from
  strict  later returns that no relay through L layers reaches: the receptive
          field is L V / F chunks; two chunks more clear a codec's own memory
  minutes N 400, ten minutes of film: for what changes over its course

Appearances are dealt per film without replacement, independent of all else.
"""

import numpy as np

from cinejax.core.errors import UserError
from cinejax.story import staging, world
from cinejax.story.config import KINDS

LAYERS = 6  # L of the models that `strict` is cast for, unless told
WINDOW_CHUNKS = 3  # V / F, unless told
_TRIES = 20_000  # at lengths of shots, before a film is said to have no room
_CODEC_CHUNKS = 2  # that a causal codec may smear a shot over


def cast(
  kind: str,
  seed: int,
  index: int,
  layers: int = LAYERS,
  window_chunks: int = WINDOW_CHUNKS,
) -> world.StoryFilm:
  """Film `index` of a set: a pure function of the arguments.

  The main event comes first in `events`; every other return of at least
  `window_chunks` absent chunks follows in order (strict: every later return
  of at least `layers * window_chunks`). Raises UserError on unknown kinds.
  """
  if kind not in KINDS:
    raise UserError(f'there are no {kind} films; kinds are {", ".join(KINDS)}')
  sequence = np.random.SeedSequence([KINDS.index(kind), seed, index])
  for_shots, for_appearances, for_motion = sequence.spawn(3)
  rng = np.random.Generator(np.random.Philox(for_shots))
  least, only = window_chunks, None
  if kind == 'strict':
    least, only = layers * window_chunks, 'later'
    shots, main = _strict(rng, least + _CODEC_CHUNKS)
  elif kind == 'single':
    shots, main = [staging.Shot(_people(rng)[0], int(rng.integers(6, 12)))], 0
  elif kind == 'train':
    shots, main = _train(rng, window_chunks)
  else:
    opening = index % 3 == 0
    if kind == 'eval':
      chunks, count = int(rng.integers(10, 12)), int(rng.integers(5, 9))
    elif kind == 'long':
      chunks, count = 40, int(rng.integers(17, 24))
    else:
      chunks, count = 400, int(rng.integers(170, 231))
    shots, main = _free(rng, chunks, count, opening, window_chunks)
  appearances = np.random.Generator(
    np.random.Philox(for_appearances)
  ).permutation(len(world.APPEARANCES))
  return world.StoryFilm(
    seed=int(for_motion.generate_state(1, np.uint64)[0]),
    segments=staging.stage(rng, shots),
    appearances=tuple(
      int(appearance) for appearance in appearances[: len(world.CHARACTERS)]
    ),
    events=_events(shots, main, least, only),
  )


def _train(rng, window_chunks: int) -> tuple[list[staging.Shot], int]:
  """Short films, rounds with many returns, and films as in evaluation."""
  pattern = rng.choice(3, p=(0.3, 0.4, 0.3))
  if pattern == 2:
    chunks = int(rng.integers(7, 12))
    count = int(rng.integers(4, min(chunks - window_chunks + 1, 8) + 1))
    return _free(rng, chunks, count, rng.random() < 1 / 3, window_chunks)
  while True:
    faces = 2 if pattern == 0 else int(rng.integers(3, 5))
    chunks = int(rng.integers(6, 10 if pattern == 0 else 12))
    count = 3 if pattern == 0 else int(rng.integers(faces + 1, chunks + 1))
    if count > chunks or chunks > staging.MAX_SHOT * count:
      continue
    people = _people(rng)[:faces]
    shots = [
      staging.Shot(people[i % faces], length)
      for i, length in enumerate(_lengths(rng, chunks, count))
    ]
    returns = _returns(shots, window_chunks)
    if returns:
      return shots, int(rng.choice(returns))


def _free(
  rng, chunks: int, count: int, opening: bool, window_chunks: int
) -> tuple[list[staging.Shot], int]:
  """Two shots of one character far enough apart, others at random."""
  for _ in range(_TRIES):
    lengths = _lengths(rng, chunks, count)
    starts = np.cumsum([0, *lengths])
    pairs = [
      (i, j)
      for i in ([0] if opening else range(1, count))
      for j in range(i + 1, count)
      if starts[j] - starts[i + 1] >= window_chunks
    ]
    if pairs:
      break
  else:
    raise UserError(
      f'a film of {count} shots in {chunks} chunks has no room for somebody to '
      f'be away for {window_chunks} chunks; take a shorter '
      'config.eval.window_frames (by default config.memory.window_frames)'
    )
  pair = pairs[rng.integers(len(pairs))]
  hero, *others = _people(rng)
  faces = _faces(rng, count, pair, hero, others)
  return [
    staging.Shot(*shot) for shot in zip(faces, lengths, strict=True)
  ], pair[1]


def _strict(rng, absent: int) -> tuple[list[staging.Shot], int]:
  """X A (others, for `absent` chunks or up to two more) A."""
  absent += int(rng.integers(0, 3))
  fewest = -(-absent // staging.MAX_SHOT)
  between = _lengths(rng, absent, int(rng.integers(fewest, fewest + 5)))
  opening, first, last = (
    int(n) for n in rng.integers(1, staging.MAX_SHOT + 1, 3)
  )
  lengths = [opening, first, *between, last]
  pair = (1, len(lengths) - 1)
  hero, *others = _people(rng)
  faces = _faces(rng, len(lengths), pair, hero, others)
  return [
    staging.Shot(*shot) for shot in zip(faces, lengths, strict=True)
  ], pair[1]


def _people(rng) -> list[int]:
  return [int(c) for c in rng.permutation(len(world.CHARACTERS))]


def _faces(rng, count, pair, hero: int, others: list[int]) -> list[int]:
  """The hero in the pair's shots, others elsewhere, no neighbours alike."""
  others = others[: int(rng.integers(3, len(others) + 1))]
  faces: list[int] = []
  for shot in range(count):
    choices = [face for face in others if face not in faces[-1:]]
    faces.append(hero if shot in pair else int(rng.choice(choices)))
  return faces


def _lengths(rng, chunks: int, count: int) -> list[int]:
  """`count` shots of 1 to staging.MAX_SHOT chunks, `chunks` in all."""
  lengths = np.ones(count, int)
  for _ in range(chunks - count):
    lengths[rng.choice(np.flatnonzero(lengths < staging.MAX_SHOT))] += 1
  return lengths.tolist()


def _returns(shots: list[staging.Shot], least: int) -> list[int]:
  """Shots whose character was away for at least `least` chunks."""
  return [shot for shot, away in enumerate(_away(shots)) if away >= least]


def _away(shots: list[staging.Shot]) -> list[int]:
  """For each shot, the chunks its character was away; -1 if never seen."""
  last: dict[int, int] = {}
  start, away = 0, []
  for shot in shots:
    away.append(start - last.get(shot.character, start) - 1)
    start += shot.chunks
    last[shot.character] = start - 1
  return away


def _events(
  shots: list[staging.Shot], main: int, least: int, only: str | None
) -> tuple[world.ReturnEvent, ...]:
  starts, away = np.cumsum([0, *(s.chunks for s in shots)]), _away(shots)
  events = []
  for shot in sorted(_returns(shots, least), key=lambda s: (s != main, s)):
    character, start = shots[shot].character, int(starts[shot])
    kind = 'opening' if character == shots[0].character else 'later'
    if only in (None, kind):
      events.append(
        world.ReturnEvent(
          character=character,
          chunk=start,
          last_chunk=start - away[shot] - 1,
          kind=kind,
          absent_chunks=away[shot],
        )
      )
  return tuple(events)
