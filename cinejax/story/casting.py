"""The cast of story films: which character is on screen in which chunk.

A film has a return event at chunk r if there is a cut, at r, to a character
that was last on screen in chunk a, and r - a - 1 >= V / F chunks lie between:
the window of chunk r then holds no frame of the character, so that its
appearance can only be remembered. An event is `opening` if the character was
on screen in chunk 0, and `later` if not, so that an attention sink does not
show it either.

  train    N 6..11: films A B A of three shots, rounds A B C A B C, and films
           as in eval
  eval     N 10 or 11, S 5..8; exactly a third of the films are opening, two
           thirds are later
  long     N 40; events as in eval
  single   N 6..11, one shot without a return, from which cuts cannot be learned
  strict   later returns after more chunks than a relay through L layers
           reaches, L V / F, plus two that a codec may smear a shot over
  minutes  N 400, ten minutes of film, for measuring change over a film
  dense    N 8, shots of one chunk, of two to four characters
  short    N 8, the same with shots of one or two chunks
  crowd    N 22, shots of one chunk, a few of two, of three to eight characters;
           whoever returns is drawn evenly from all who were seen before, but
           for the character on screen
  pictures as crowd, but the first one to three shots are still pictures of
           characters, as a director gives them, one of whom mostly comes next

A base learns to remember from the last four, in which most chunks are returns;
in films as people watch them one or two are. Only in `crowd` and `pictures`
does nothing but the name tell who returns. A base that learns from films whose
returns mostly lie beyond the window, as in eval, reads whatever lies beyond the
window.

Appearances are drawn for each film, without replacement and independently of
everything else.
"""

import numpy as np

from cinejax.core.errors import UserError
from cinejax.story import staging, world
from cinejax.story.config import KINDS

LAYERS = 6  # default L of the models that `strict` is cast for
WINDOW_CHUNKS = 3  # default V / F
_TRIES = 20_000  # drawings of shot lengths before `_free` gives up
_DENSE_CHUNKS = 8  # of a film of kind dense or short
_CROWD_CHUNKS = 22
_CODEC_CHUNKS = 2  # that a causal codec may smear a shot over


def cast(
  kind: str,
  seed: int,
  index: int,
  layers: int = LAYERS,
  window_chunks: int = WINDOW_CHUNKS,
) -> world.StoryFilm:
  """Casts film `index` of a set; a pure function of its arguments.

  The main return comes first in `events`. All other returns after at least
  `window_chunks` absent chunks follow in time order (strict: all later returns
  after at least `layers * window_chunks`).

  Args:
    kind: one of KINDS.
    seed: of the set.
    index: of the film in the set.
    layers: L, for kind strict.
    window_chunks: V / F.

  Raises:
    UserError: there is no such kind, or `window_chunks` leaves no room for a
      return.
  """
  if kind not in KINDS:
    raise UserError(
      f'there are no story films of kind {kind}; use one of {", ".join(KINDS)}'
    )
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
  elif kind in ('dense', 'short'):
    shots, main = _dense(rng, longest=1 if kind == 'dense' else 2), 0
  elif kind == 'crowd':
    shots, main = _crowd(rng), 0
  elif kind == 'pictures':
    shots, main = _crowd(rng, pictures=int(rng.integers(1, 4))), 0
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
  """The shots of a training film, and the index of the main return's shot."""
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


def _dense(rng, longest: int) -> list[staging.Shot]:
  """Shots of 1 to `longest` chunks, each of another of two to four people."""
  people = _people(rng)[: int(rng.integers(2, 5))]
  shots: list[staging.Shot] = []
  left = _DENSE_CHUNKS
  while left:
    length = min(left, int(rng.integers(1, longest + 1)))
    before = [shot.character for shot in shots[-1:]]
    choices = [person for person in people if person not in before]
    shots.append(staging.Shot(int(rng.choice(choices)), length))
    left -= length
  return shots


def _crowd(rng, pictures: int = 0) -> list[staging.Shot]:
  """Shots of three to eight characters, who return in no order.

  The first shots are as many still pictures, each of another one of them.
  """
  people = _people(rng)[: int(rng.integers(3, 9))]
  shots = [staging.Shot(person, 1, True) for person in people[:pictures]]
  seen = pictures  # the first ones of `people`
  left = _CROWD_CHUNKS - pictures
  while left:
    length = min(left, int(rng.choice(2, p=(0.85, 0.15))) + 1)
    # the character of a picture can open the film
    before = [shot.character for shot in shots[-1:] if not shot.picture]
    choices = [person for person in people[:seen] if person not in before]
    opens = pictures and not before
    fresh = 0.2 if opens else 0.5
    if seen < len(people) and (not choices or rng.random() < fresh):
      choices = [people[seen]]
      seen += 1
    shots.append(staging.Shot(int(rng.choice(choices)), length))
    left -= length
  return shots


def _free(
  rng, chunks: int, count: int, opening: bool, window_chunks: int
) -> tuple[list[staging.Shot], int]:
  """Two shots of one character, far enough apart, and others at random.

  With `opening`, the first of the two opens the film. Returns the shots and the
  index of the second of the two.
  """
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
      f'no character can be absent for {window_chunks} chunks in a film of '
      f'{count} shots and {chunks} chunks; set a smaller '
      'config.eval.window_frames (by default config.memory.window_frames)'
    )
  pair = pairs[rng.integers(len(pairs))]
  hero, *others = _people(rng)
  faces = _faces(rng, count, pair, hero, others)
  return [
    staging.Shot(*shot) for shot in zip(faces, lengths, strict=True)
  ], pair[1]


def _strict(rng, absent: int) -> tuple[list[staging.Shot], int]:
  """Shots X A ... A, with `absent` to `absent` + 2 chunks of others between.

  Returns the shots and the index of the last.
  """
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
  """All characters in random order."""
  return [int(c) for c in rng.permutation(len(world.CHARACTERS))]


def _faces(rng, count, pair, hero: int, others: list[int]) -> list[int]:
  """The character of each shot: `hero` in the two of `pair`, others elsewhere.

  Neighbouring shots have different characters.
  """
  others = others[: int(rng.integers(3, len(others) + 1))]
  faces: list[int] = []
  for shot in range(count):
    choices = [face for face in others if face not in faces[-1:]]
    faces.append(hero if shot in pair else int(rng.choice(choices)))
  return faces


def _lengths(rng, chunks: int, count: int) -> list[int]:
  """Lengths of `count` shots of 1 to MAX_SHOT chunks, `chunks` in all."""
  lengths = np.ones(count, int)
  for _ in range(chunks - count):
    lengths[rng.choice(np.flatnonzero(lengths < staging.MAX_SHOT))] += 1
  return lengths.tolist()


def _returns(shots: list[staging.Shot], least: int) -> list[int]:
  """Shots whose character was absent for at least `least` chunks before."""
  return [shot for shot, away in enumerate(_away(shots)) if away >= least]


def _away(shots: list[staging.Shot]) -> list[int]:
  """The chunks that each shot's character was absent; -1 at first."""
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
  """The returns of `shots`, that of shot `main` first; None: of both kinds."""
  starts, away = np.cumsum([0, *(s.chunks for s in shots)]), _away(shots)
  events = []
  for shot in sorted(_returns(shots, least), key=lambda s: (s != main, s)):
    character, start = shots[shot].character, int(starts[shot])
    kind = 'opening' if character == shots[0].character else 'later'
    seen = {shots[i].character for i in range(shot)}
    recent = {
      shots[i].character for i in range(shot) if starts[i + 1] > start - least
    }
    if only in (None, kind):
      events.append(
        world.ReturnEvent(
          character=character,
          chunk=start,
          last_chunk=start - away[shot] - 1,
          kind=kind,
          absent_chunks=away[shot],
          candidates=len(seen - recent),
        )
      )
  return tuple(events)
