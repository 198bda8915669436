"""Generates the chunks of several films in one call, independently.

With S slots, one program advances S films by one chunk each; unused slots
advance spare films. No arithmetic crosses slots and the shapes never change, so
the bits of a film do not depend on the films in the other slots. Whether they
depend on the slot is measured once, at the start. If they do on some backend,
and if S = 1, each film runs alone, through the same program as in `direct`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.directing.director import Director
from cinejax.film.journal import ChunkPrompt, Settings
from cinejax.rollout.state import ChunkInput, ChunkOutput, RolloutState

_PROBE_CHUNKS = 2


class SlotInput(NamedTuple):
  """A film whose next chunk is to be generated."""

  state: RolloutState  # donated
  chunk: ChunkInput


class SlotOutput(NamedTuple):
  """The generated chunk, and the state after it."""

  state: RolloutState
  chunk: ChunkOutput


# From exactly S inputs.
RunFn = Callable[[Sequence[SlotInput]], Sequence[SlotOutput]]


class Slots:
  """Any thread may `prepare`; one thread at a time may `run`."""

  def __init__(self, director: Director, slots: int):
    """Compiles for the config's settings, and compares the slots."""
    self._director = director
    self._fns: dict[Settings, RunFn] = {}
    if director.mesh is not None:
      slots = 1  # a film on several devices leaves none idle
    self.slots = slots
    self._spares = [director.begin([n]) for n in range(slots)]
    self.prepare(Settings())
    if slots > 1 and not slots_agree(director, self._fns[Settings()], slots):
      self.slots, self._fns = 1, {}
      self.prepare(Settings())

  def prepare(self, settings: Settings) -> None:
    """Compiles for `settings`; UserError if the model cannot follow them."""
    if self.prepared(settings):
      return
    variant = self._director.variant(settings)
    run = (
      make_single_run(variant) if self.slots == 1 else make_batched_run(variant)
    )
    inputs = [_probe_input(variant, seed) for seed in range(self.slots)]
    jax.block_until_ready(run(inputs))
    self._fns[settings] = run
    for other in tuple(self._fns):
      if not self._director.has_variant(other):
        del self._fns[other]

  def prepared(self, settings: Settings) -> bool:
    """Whether `prepare` has compiled for `settings`, and they are kept."""
    return settings in self._fns and self._director.has_variant(settings)

  def run(
    self, settings: Settings, inputs: Sequence[SlotInput]
  ) -> list[SlotOutput]:
    """The output for each of 1 to `slots` inputs, whose states are donated."""
    self._director.variant(settings)  # marks it as used
    run = self._fns.get(settings)
    if run is None:  # it was dropped in the meantime
      self.prepare(settings)
      run = self._fns[settings]
    spare = self.slots - len(inputs)
    chunk = inputs[0].chunk
    unused = [SlotInput(state, chunk) for state in self._spares[:spare]]
    try:
      outputs = run([*inputs, *unused])
    except Exception:  # the states were donated to the call
      self._spares = [self._director.begin([n]) for n in range(self.slots)]
      raise
    self._spares[:spare] = [output.state for output in outputs[len(inputs) :]]
    return list(outputs[: len(inputs)])


def make_single_run(director: Director) -> RunFn:
  """Advances one film in each call, by the program of `direct`."""

  def run(inputs: Sequence[SlotInput]) -> list[SlotOutput]:
    ((state, chunk),) = inputs
    return [SlotOutput(*pair) for pair in director.stream(state, [chunk])]

  return run


def make_batched_run(director: Director) -> RunFn:
  """Advances as many films in each call as in the first one."""

  def step(
    params: Any, states: list[RolloutState], chunks: list[ChunkInput]
  ) -> list[SlotOutput]:
    states, chunks = (
      jax.tree.map(lambda *leaves: jnp.stack(leaves), *films)
      for films in (states, chunks)
    )
    outputs = jax.vmap(director.step, (None, 0, 0))(params, states, chunks)
    count = len(outputs[0].start_B)
    return [
      SlotOutput(*jax.tree.map(lambda leaf, slot=slot: leaf[slot], outputs))
      for slot in range(count)
    ]

  step = jax.jit(step, donate_argnums=1)

  def run(inputs: Sequence[SlotInput]) -> list[SlotOutput]:
    states, chunks = zip(*inputs, strict=True)
    return step(director.params, list(states), list(chunks))

  return run


def slots_agree(director: Director, run: RunFn, slots: int) -> bool:
  """Whether a film has the same bits in every slot, among other films."""
  films = [
    _probe_film(director, run, slot, [100 * slot + n for n in range(slots)])
    for slot in range(slots)
  ]
  return all(np.array_equal(films[0], film) for film in films)


def _probe_film(
  director: Director, run: RunFn, slot: int, other_seeds: Sequence[int]
) -> np.ndarray:
  """Latents of the film of seed 7 in `slot`, with others in other slots."""
  seeds = [7 if n == slot else seed for n, seed in enumerate(other_seeds)]
  inputs, latents = [_probe_input(director, seed) for seed in seeds], []
  for _ in range(_PROBE_CHUNKS):
    outputs = run(inputs)
    latents.append(np.asarray(outputs[slot].chunk.latents_BFYXC))
    inputs = [
      slot_input._replace(state=output.state)
      for slot_input, output in zip(inputs, outputs, strict=True)
    ]
  return np.stack(latents)


def _probe_input(director: Director, seed: int) -> SlotInput:
  prompt = ChunkPrompt(f'film {seed}', 0, 0, False)
  return SlotInput(director.begin([seed]), director.chunk_input([prompt]))
