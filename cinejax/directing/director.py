"""The networks of a config, put together: prompts in, film out.

`direct`, `evaluate`, `bench` and `serve` share it. A Director holds no state
of a film: a film in progress is a RolloutState that the caller holds.
"""

import collections
import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.config import Config, check
from cinejax.core.errors import UserError
from cinejax.core.notes import note
from cinejax.directing.cast import GivenPicture, check_count
from cinejax.directing.film_codec import FilmCodec
from cinejax.directing.rollout_programs import RolloutPrograms
from cinejax.directing.weight_sets import WeightSets
from cinejax.film.journal import ChunkPrompt, Film, Settings
from cinejax.film.screenplay import segment_chunks
from cinejax.rollout.state import ChunkInput, ChunkOutput, RolloutState
from cinejax.rollout.stream import stream


@dataclasses.dataclass(frozen=True)
class Director(RolloutPrograms, FilmCodec):
  """Directs films with the networks that it is given."""

  params: Any  # of the DiT
  # Weights that a film can change to; None: there are no others.
  weight_sets: WeightSets | None = dataclasses.field(default=None, kw_only=True)

  def variant(self, settings: Settings) -> 'Director':
    """The director that follows what a film sets from some chunk on.

    A film in progress can go from one variant to another, because their
    states are alike. The config.serving.programs variants that were used last
    stay, and config.serving.weight_sets sets of weights with them. Raises
    UserError if this model cannot do it.
    """
    if settings == Settings():
      return self
    found = self._variants.get(settings)
    if found is None:
      self.check_settings(settings)
      found = self._make_variant(settings)
    self._variants[settings] = found  # other threads may have dropped it
    self._variants.move_to_end(settings)
    self._forget_oldest()
    return found

  def has_variant(self, settings: Settings) -> bool:
    """Whether `variant` has what it returns already."""
    return settings == Settings() or settings in self._variants

  def weights_key(self, settings: Settings) -> tuple[int | None, float]:
    """Identifies the weights with which a film of `settings` is made."""
    sets = self.weight_sets or _NO_OTHERS
    return sets.key(settings.steps, settings.lora_strength)

  @property
  def functions(self) -> dict[str, Any]:
    """The functions of this config, which take any parameters."""
    names = ['step', 'live_step' if self.is_live else 'scan_fn']
    return {name: getattr(self, name) for name in names}

  def _make_variant(self, settings: Settings) -> 'Director':
    cfg = apply_settings(self.cfg, settings)
    params = self._params(settings)
    if settings.lora_strength is not None:  # it compiles nothing
      same = self.variant(settings._replace(lora_strength=None))
      variant = dataclasses.replace(same, params=params)
      variant.__dict__.update(same.functions)
      return variant
    if cfg == self.cfg and params is self.params:
      return self
    return dataclasses.replace(self, cfg=cfg, params=params)

  def _params(self, settings: Settings) -> Any:
    """The weights for `settings`, those of another variant if they agree."""
    wanted = self.weights_key(settings)
    if wanted == self.weights_key(Settings()):
      return self.params
    for other, variant in tuple(self._variants.items()):
      if self.weights_key(other) == wanted:
        return variant.params
    sets = self.weight_sets or _NO_OTHERS
    return sets.load(settings.steps, settings.lora_strength)

  def _forget_oldest(self) -> None:
    """Drops variants until as many stay as config.serving allows."""
    limits, variants = self.cfg.serving, self._variants
    for settings, variant in tuple(variants.items())[:-1]:
      sets = {id(one.params) for one in tuple(variants.values())}
      sets.discard(id(self.params))
      is_surplus = len(sets) > limits.weight_sets and id(variant.params) in sets
      if len(variants) > limits.programs or is_surplus:
        variants.pop(settings, None)

  def check_settings(self, settings: Settings) -> None:
    """Raises UserError if this model cannot follow `settings`."""
    apply_settings(self.cfg, settings)
    (self.weight_sets or _NO_OTHERS).check(settings.lora_strength)

  def check(self, film: Film) -> None:
    """Checks that this model can direct `film`.

    Raises:
      UserError: if the film is too long, if the bank has no room for its cast,
        or if a segment asks for something that this model cannot do.
    """
    segment_chunks(film, self.timeline.chunk_secs)
    if not all(self.follows(one.camera) for one in film.segments):
      note(
        f'{film.source}: this model does not follow moves of the camera '
        '(config.text.camera); they are left out'
      )
    for index, segment in enumerate(film.segments):
      try:
        self.check_prompt(segment.prompt)
      except UserError as error:
        raise UserError(f'{film.location(index)}: {error}') from error
      for name, value in segment.settings.given().items():
        try:
          self.check_settings(Settings(**{name: value}))
        except UserError as error:
          raise UserError(f'{film.location(index)}.{name}: {error}') from error
      cfg = apply_settings(self.cfg, segment.settings)
      check_count(cfg, len(film.cast))

  def check_prompt(self, prompt: str) -> None:
    """Raises UserError for actions that this model does not know."""
    if self.cfg.text.steered:
      self.text.encode([prompt])

  @functools.cached_property
  def _variants(self) -> collections.OrderedDict[Settings, 'Director']:
    return collections.OrderedDict()  # the one used last is the last

  def admit(
    self, state: RolloutState, pictures: Iterable[GivenPicture]
  ) -> RolloutState:
    """The state of films that have not begun, with pictures in their memory.

    `state` is donated.
    """
    for number, picture in enumerate(pictures):
      prompt = self.cfg.film.cast_prompt
      prompts = [prompt.replace('{name}', name) for name in picture.names]
      text_BWD, latents_BFYXC = (
        jnp.broadcast_to(x, (len(state.start_B), *x.shape[1:]))
        for x in (jnp.asarray(self.text.encode(prompts)), picture.latents_BFYXC)
      )
      state = self.admit_fn(
        self.params, state, jnp.int32(number), text_BWD, latents_BFYXC
      )
    return state

  def stream(
    self, state: RolloutState, chunks: Iterable[ChunkInput]
  ) -> Iterator[tuple[RolloutState, ChunkOutput]]:
    """Generates chunk after chunk from `state` on; see rollout.stream."""
    if not self.is_live:
      per_call = self.cfg.rollout.chunks_per_call
      yield from stream(self.scan_fn, self.params, state, chunks, per_call)
      return
    for chunk in chunks:
      state, output = self.live_step(self.params, state, chunk)
      yield state, output

  def latents(
    self,
    state: RolloutState,
    chunks: Iterable[ChunkInput],
    observe: Callable[[ChunkOutput], None] = lambda output: None,
  ) -> Generator[jax.Array, None, RolloutState]:
    """The latents of `stream`, each before its commit is dispatched.

    `observe` is called with each output. Returns the state after the last one.
    """
    if self.is_live:
      return (
        yield from self.live_step.latents(self.params, state, chunks, observe)
      )
    for after, output in self.stream(state, chunks):
      state = after
      observe(output)
      yield output.latents_BFYXC
    return state

  def roll(
    self,
    prompts: Iterable[Sequence[ChunkPrompt]],
    seeds: Sequence[int],
    given_BFYXC: jax.Array | None = None,
    observe: Callable[[ChunkOutput], None] = lambda output: None,
    cast: Sequence[GivenPicture] = (),
  ) -> Iterator[np.ndarray]:
    """Generates B new films.

    Args:
      prompts: those of all films, chunk by chunk, drawn as they are needed.
      seeds: of each film's noise.
      given_BFYXC: the latents that the films begin with (opening.py): whole
        chunks, or the first latent frame of the first chunk.
      observe: called with the output of each chunk that is generated.
      cast: pictures that the memory of the films begins with.

    Yields:
      uint8 [B, T, Y, X, 3] of one chunk after another.
    """
    prompts = iter(prompts)

    def latents() -> Iterator[jax.Array]:
      state = self.admit(self.begin(seeds), cast)
      if given_BFYXC is not None:
        state = yield from self._open(state, prompts, given_BFYXC, observe)
      for settings, group in _runs(prompts):
        first = next(group)
        state = self.reseeded(state, first)
        chunks = map(self.chunk_input, itertools.chain([first], group))
        director = self.variant(settings)
        state = yield from director.latents(state, chunks, observe)

    return self.decode(latents())

  def _open(
    self,
    state: RolloutState,
    prompts: Iterator[Sequence[ChunkPrompt]],
    given_BFYXC: jax.Array,
    observe: Callable[[ChunkOutput], None],
  ) -> Generator[jax.Array, None, RolloutState]:
    """The latents of the first chunks; returns the state after them."""
    frames = self.cfg.film.frames_per_chunk
    if given_BFYXC.shape[1] < frames:
      first = next(prompts)
      state = self.reseeded(state, first)
      chunk = self.chunk_input(first).replace(image_BYXC=given_BFYXC[:, 0])
      director = self.variant(_settings(first))
      return (yield from director.latents(state, [chunk], observe))
    chunks = jnp.split(given_BFYXC, given_BFYXC.shape[1] // frames, 1)
    for z_BFYXC, batch in zip(chunks, prompts, strict=False):
      yield z_BFYXC
      chunk = self.chunk_input(batch)
      state = self.commit_fn(self.params, state, chunk, z_BFYXC)
    return state


_NO_OTHERS = WeightSets(lambda file, adapters: None, pathlib.Path(), {}, ())


def _runs(
  prompts: Iterator[Sequence[ChunkPrompt]],
) -> Iterator[tuple[Settings, Iterator[Sequence[ChunkPrompt]]]]:
  """Prompts of B films in runs of equal settings and noise."""
  seeds = itertools.count(1)
  run = 0

  def key(batch: Sequence[ChunkPrompt]) -> tuple[Settings, int]:
    nonlocal run
    if any(prompt.seed is not None for prompt in batch):
      run = next(seeds)
    return _settings(batch), run

  for (settings, _), group in itertools.groupby(prompts, key):
    yield settings, group


def _settings(prompts: Sequence[ChunkPrompt]) -> Settings:
  (settings,) = {p.settings for p in prompts}  # films of a batch share them
  return settings


def apply_settings(cfg: Config, settings: Settings) -> Config:
  """`cfg` with what a film sets; UserError if the model cannot do it."""
  rollout, memory = cfg.rollout, cfg.memory
  if settings.policy:
    memory = dataclasses.replace(memory, policy=settings.policy)
  if settings.steps is not None:
    rollout = dataclasses.replace(rollout, steps=settings.steps)
  if settings.routed_frames is not None:
    memory = dataclasses.replace(memory, routed_frames=settings.routed_frames)
  if settings.guidance is not None:
    if rollout.guidance == 1:
      raise UserError(
        'this model runs without guidance (config.rollout.guidance is 1), so '
        'a film cannot change it'
      )
    rollout = dataclasses.replace(rollout, guidance=settings.guidance)
  cfg = dataclasses.replace(cfg, memory=memory, rollout=rollout)
  check(cfg)
  return cfg
