"""Chunks of several films by one call, each film as if it were alone.

With S slots, one executable advances S films of one chunk each; slots that
nobody needs advance a spare film. Arithmetic never crosses slots and shapes
are always the same, so a film's bits cannot depend on its company. That they
do not depend on the slot either is measured once, at the start; where a
backend fails, and where S = 1, films go one by one, through the very program
that `direct` runs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.directing.director import Director
from cinejax.film.journal import ChunkPrompt, Settings
from cinejax.rollout.state import ChunkInput, ChunkOutput, RolloutState

_PROBE_CHUNKS = 2


class SlotInput(NamedTuple):
  """A film that is to get its next chunk."""

  state: RolloutState  # donated
  chunk: ChunkInput


class SlotOutput(NamedTuple):
  state: RolloutState
  output: ChunkOutput


RunFn = Callable[
  [Sequence[SlotInput]], Sequence[SlotOutput]
]  # of exactly S turns


class Slots:
  """Runs turns. Any thread may `prepare`; one at a time may `run`."""

  def __init__(self, director: Director, slots: int):
    """Compiles, and measures whether slots are alike."""
    self._director = director
    self._fns: dict[Settings, RunFn] = {}
    if director.mesh is not None:
      slots = 1  # a film that needs several devices leaves none idle
    self.slots = slots
    self._spares = [director.begin([n]) for n in range(slots)]
    self.prepare(Settings())
    if slots > 1 and not slots_agree(director, self._fns[Settings()], slots):
      self.slots, self._fns = 1, {}
      self.prepare(Settings())

  def prepare(self, settings: Settings) -> None:
    """Compiles for `settings`; UserError where the model cannot do them."""
    if settings in self._fns:
      return
    variant = self._director.variant(settings)
    run = (
      make_single_run(variant) if self.slots == 1 else make_batched_run(variant)
    )
    turns = [_turn(variant, seed) for seed in range(self.slots)]
    jax.block_until_ready(run(turns))
    self._fns[settings] = run

  def prepared(self, settings: Settings) -> bool:
    return settings in self._fns

  @property
  def variants(self) -> int:
    """How many programs there are."""
    return len(self._fns)

  def run(
    self, settings: Settings, turns: Sequence[SlotInput]
  ) -> list[SlotOutput]:
    """What becomes of each turn; 1 to `slots` of them."""
    spare = self.slots - len(turns)
    chunk = turns[0].chunk
    idle = [SlotInput(state, chunk) for state in self._spares[:spare]]
    try:
      done = self._fns[settings]([*turns, *idle])
    except Exception:  # what a call was given is gone with it
      self._spares = [self._director.begin([n]) for n in range(self.slots)]
      raise
    self._spares[:spare] = [one.state for one in done[len(turns) :]]
    return list(done[: len(turns)])


def make_single_run(director: Director) -> RunFn:
  """One film a call: the program of `direct`."""

  def run(turns: Sequence[SlotInput]) -> list[SlotOutput]:
    ((state, chunk),) = turns
    chunks = jax.tree.map(lambda leaf: leaf[None], chunk)
    state, outputs = director.scan_fn(director.params, state, chunks)
    return [SlotOutput(state, jax.tree.map(lambda leaf: leaf[0], outputs))]

  return run


def make_batched_run(director: Director) -> RunFn:
  """As many films a call as it is first called with."""

  def step(params, states, chunks):
    states, chunks = (
      jax.tree.map(lambda *leaves: jnp.stack(leaves), *films)
      for films in (states, chunks)
    )
    made = jax.vmap(director.step, (None, 0, 0))(params, states, chunks)
    count = len(made[0].start_B)
    return [
      SlotOutput(*jax.tree.map(lambda leaf, slot=slot: leaf[slot], made))
      for slot in range(count)
    ]

  step = jax.jit(step, donate_argnums=1)

  def run(turns: Sequence[SlotInput]) -> list[SlotOutput]:
    states, chunks = zip(*turns, strict=True)
    return step(director.params, list(states), list(chunks))

  return run


def slots_agree(director: Director, run: RunFn, slots: int) -> bool:
  """Whether a film's bits are the same in every slot, in other company."""
  films = [
    _film(director, run, slot, [100 * slot + n for n in range(slots)])
    for slot in range(slots)
  ]
  return all(np.array_equal(films[0], film) for film in films)


def _film(
  director: Director, run: RunFn, slot: int, company: Sequence[int]
) -> np.ndarray:
  """Latents of film 7 made in `slot`, films `company` in the others."""
  seeds = [7 if n == slot else seed for n, seed in enumerate(company)]
  turns, made = [_turn(director, seed) for seed in seeds], []
  for _ in range(_PROBE_CHUNKS):
    done = run(turns)
    made.append(np.asarray(done[slot].output.latents_BFYXC))
    turns = [
      turn._replace(state=one.state)
      for turn, one in zip(turns, done, strict=True)
    ]
  return np.stack(made)


def _turn(director: Director, seed: int) -> SlotInput:
  said = ChunkPrompt(f'film {seed}', 0, 0, False)
  return SlotInput(director.begin([seed]), director.chunk_input([said]))
