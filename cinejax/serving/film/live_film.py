"""A film in the making: what was asked, what was made, and the way back.

It knows nothing of clocks, threads or viewers. The state is away while a
chunk is made (`begin`, a slot, `develop`, `finish`). What going back needs is
copied to the host before the first chunk of each segment, for the `kept`
newest of them.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film.journal import ChunkPrompt, Film, Journal, Segment
from cinejax.memory.bank import EMPTY
from cinejax.rollout.state import ChunkOutput, RolloutState
from cinejax.serving.film import host_state
from cinejax.serving.film.slots import Done, Turn
from cinejax.serving.film.spool import Tape
from cinejax.serving.film.thumbnails import thumb

_LOOKS = 16  # routed frames that are told, the most read ones


class Kept(NamedTuple):
  """How things stood before a chunk."""

  state: host_state.HostState
  decoder: host_state.HostState


class Asked(NamedTuple):
  """A chunk that is about to be made."""

  turn: Turn
  said: ChunkPrompt
  chunk: int
  decoder: Any


class Look(NamedTuple):
  """A past frame that the memory read for a chunk."""

  frame: int  # latent frame
  share: float  # of passes and layers that routed it


@dataclasses.dataclass(frozen=True)
class Made:
  """A chunk that was made."""

  chunk: int
  said: ChunkPrompt
  latents_FYXC: np.ndarray
  video_TYXC: np.ndarray  # uint8
  thumbs: tuple[bytes, ...]  # a JPEG of each latent frame
  looks: tuple[Look, ...]  # in time order
  window: tuple[int, int]  # latent frames that are read as the recent ones
  state: RolloutState
  decoder: Any


class Reel:
  """One film; not to be used by two threads at once."""

  def __init__(
    self,
    director: Director,
    seed: int,
    kept: int,
    folder: pathlib.Path | None = None,
  ):
    """`folder` where what was made is kept; None: the system's."""
    self._director, self._kept_most = director, kept
    self._folder = folder
    self.seed = seed
    self.journal = Journal(director.cfg.film.cut_prefix)
    self.tape = Tape(director.latent_shape, folder)
    self._kept: dict[int, Kept] = {}  # by chunk
    self._begin_anew()

  @property
  def chunks(self) -> int:
    """Made so far."""
    return len(self.tape)

  @property
  def away(self) -> bool:
    """A chunk is being made."""
    return self._state is None

  @property
  def kept(self) -> tuple[int, ...]:
    """The chunks before which `rewind` and `fork` can take up the film."""
    now = () if self.away else (self.chunks,)
    return tuple(sorted({0, *self._kept, *now}))

  def film(self, title: str = '') -> Film:
    """The screenplay of what was made, or is being made."""
    return Film(self.journal.segments, title, self.seed)

  def say(self, segment: Segment) -> None:
    """From the next chunk on."""
    self.journal.say(segment)
    if self.chunks:
      self._keep()

  def begin(self) -> Asked:
    """The next chunk; the state is away until `finish`."""
    said = self.journal.chunk()
    turn = Turn(self._state, self._director.chunk_input([said]))
    self._state = None
    return Asked(turn, said, self.chunks, self._decoder)

  def finish(self, made: Made) -> None:
    """Takes the chunk, and the state back; UserError: the disk is full."""
    self._state, self._decoder = made.state, made.decoder
    self.tape.append(made.latents_FYXC, made.thumbs)

  def rewind(self, chunk: int) -> None:
    """As it was before `chunk`; UserError where that is not kept."""
    kept = self._find(chunk)
    self.journal = self.journal.upto(chunk)
    self.tape.cut(chunk)
    self._kept = {n: state for n, state in self._kept.items() if n <= chunk}
    self._restore(kept)

  def fork(self, chunk: int) -> 'Reel':
    """Another film with the same past; UserError where that is not kept."""
    kept = self._find(chunk)
    other = Reel(self._director, self.seed, self._kept_most, self._folder)
    other.journal = self.journal.upto(chunk)
    for number in range(chunk):
      other.tape.append(*self.tape.chunk(number))
    other._kept = {n: state for n, state in self._kept.items() if n < chunk}
    other._restore(kept)
    return other

  def now(self) -> Kept:
    """How things stand; a chunk must not be away."""
    return Kept(
      host_state.to_host(self._state), host_state.to_host(self._decoder)
    )

  def resume(
    self,
    film: Film,
    kept: Kept,
    latents: Sequence[np.ndarray],
    thumbs: Sequence[bytes],
  ) -> None:
    """A film that was written down; UserError where it does not fit."""
    self._restore(kept)
    for segment in film.segments:
      self.journal.say(segment)
      for _ in range(segment.chunks):
        self.journal.chunk()
    count = self._director.cfg.film.frames_per_chunk
    for n, z_FYXC in enumerate(latents):
      self.tape.append(z_FYXC, thumbs[n * count : (n + 1) * count])

  def frames(self) -> Iterator[np.ndarray]:
    """All pixel frames so far, decoded anew: uint8 [Y, X, 3] each."""
    made = self.tape.latents()  # now, whatever the film does meanwhile
    videos = self._director.decode(jnp.asarray(z)[None] for z in made)
    return itertools.chain.from_iterable(video[0] for video in videos)

  def _begin_anew(self) -> None:
    self._state = self._director.begin([self.seed])
    shape = (1, *self._director.latent_shape[1:])
    codec = self._director.codec
    self._decoder = codec.init_decode(self._director.codec_params, shape)

  def _keep(self) -> None:
    self._kept[self.chunks] = self.now()
    while len(self._kept) > self._kept_most:
      del self._kept[min(self._kept)]

  def _find(self, chunk: int) -> Kept | None:
    """None: the beginning."""
    if chunk not in self.kept:
      listed = ', '.join(map(str, self.kept))
      raise UserError(
        f'what came before chunk {chunk} is not kept; take one of {listed}'
      )
    if chunk == 0:
      return None
    return self._kept[chunk] if chunk in self._kept else self.now()

  def _restore(self, kept: Kept | None) -> None:
    like = jax.eval_shape(lambda: self._director.begin([0]))
    if kept is None:
      self._begin_anew()
      return
    shape = (1, *self._director.latent_shape[1:])
    init = self._director.codec.init_decode
    params = self._director.codec_params
    decoder = jax.eval_shape(lambda: init(params, shape))
    self._decoder = host_state.to_device(kept.decoder, decoder)
    state = host_state.to_device(kept.state, like)
    self._state = self._director.place(state)


def develop(director: Director, asked: Asked, done: Done) -> Made:
  """What a turn gave, decoded and on the host; touches no reel.

  Raises FloatingPointError if it is not finite.
  """
  # a copy: a view would keep the device's array as long as the film
  z_FYXC = np.array(done.output.latents_BFYXC)[0]
  if not np.isfinite(z_FYXC).all():
    raise FloatingPointError('the model made a chunk that is not finite')
  decoded, decoder = director.decode_fn(
    director.codec_params,
    done.output.latents_BFYXC,
    asked.decoder,
    first=asked.chunk == 0,
  )
  video_TYXC = np.asarray(decoded)[0]
  cfg, place = director.cfg, director.timeline.latent_start_pixel
  count = cfg.film.frames_per_chunk
  start = asked.chunk * count
  return Made(
    chunk=asked.chunk,
    said=asked.said,
    latents_FYXC=z_FYXC,
    video_TYXC=video_TYXC,
    thumbs=tuple(
      thumb(video_TYXC[place(start + n) - place(start)]) for n in range(count)
    ),
    looks=_looks(done.output),
    window=(max(0, start - cfg.memory.window_frames), start),
    state=done.state,
    decoder=decoder,
  )


def _looks(output: ChunkOutput) -> tuple[Look, ...]:
  frame_JLR = np.asarray(output.frame_JLBR)[:, :, 0]
  frames, counts = np.unique(frame_JLR[frame_JLR != EMPTY], return_counts=True)
  passes = frame_JLR.shape[0] * frame_JLR.shape[1]
  most = np.argsort(-counts, kind='stable')[:_LOOKS]
  return tuple(
    Look(int(frames[n]), float(counts[n] / passes)) for n in sorted(most)
  )
