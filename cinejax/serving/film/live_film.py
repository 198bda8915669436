"""A film in the making: what was asked, what was made, and the way back.

It knows nothing of clocks, threads or viewers. The state is away while a
chunk is made (see `start_chunk` and `finish_chunk`). What going back needs is
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
from cinejax.serving.film.slots import SlotInput, SlotOutput
from cinejax.serving.film.spool import FrameSpool
from cinejax.serving.film.thumbnails import thumbnail

_MAX_ROUTED_FRAMES = 16  # routed frames that are told, the most read ones


class Snapshot(NamedTuple):
  """How things stood before a chunk."""

  state: host_state.HostState
  decoder: host_state.HostState


class ChunkRequest(NamedTuple):
  """A chunk that is about to be made."""

  turn: SlotInput
  prompt: ChunkPrompt
  chunk: int
  decoder: Any


class RoutedFrame(NamedTuple):
  """A past frame that the memory read for a chunk."""

  frame: int  # latent frame
  share: float  # of passes and layers that routed it


@dataclasses.dataclass(frozen=True)
class FinishedChunk:
  """A chunk that was made."""

  chunk: int
  prompt: ChunkPrompt
  latents_FYXC: np.ndarray
  video_TYXC: np.ndarray  # uint8
  thumbnails: tuple[bytes, ...]  # a JPEG of each latent frame
  routed_frames: tuple[RoutedFrame, ...]  # in time order
  window: tuple[int, int]  # latent frames that are read as the recent ones
  state: RolloutState
  decoder: Any


class LiveFilm:
  """One film; not to be used by two threads at once."""

  def __init__(
    self,
    director: Director,
    seed: int,
    max_snapshots: int,
    folder: pathlib.Path | None = None,
  ):
    """`folder` where what was made is kept; None: the system's."""
    self._director, self._max_snapshots = director, max_snapshots
    self._folder = folder
    self.seed = seed
    self.journal = Journal(director.cfg.film.cut_prefix)
    self.spool = FrameSpool(director.latent_shape, folder)
    self._snapshots: dict[int, Snapshot] = {}  # by chunk
    self._reset()

  @property
  def chunks(self) -> int:
    """FinishedChunk so far."""
    return len(self.spool)

  @property
  def chunk_in_flight(self) -> bool:
    """A chunk is being made."""
    return self._state is None

  @property
  def rewind_chunks(self) -> tuple[int, ...]:
    """The chunks before which `rewind` and `fork` can take up the film."""
    now = () if self.chunk_in_flight else (self.chunks,)
    return tuple(sorted({0, *self._snapshots, *now}))

  def screenplay(self, title: str = '') -> Film:
    """The screenplay of what was made, or is being made."""
    return Film(self.journal.segments, title, self.seed)

  def add_segment(self, segment: Segment) -> None:
    """From the next chunk on."""
    self.journal.add(segment)
    if self.chunks:
      self._take_snapshot()

  def start_chunk(self) -> ChunkRequest:
    """The next chunk; the state is away until `finish`."""
    prompt = self.journal.next_chunk()
    turn = SlotInput(self._state, self._director.chunk_input([prompt]))
    self._state = None
    return ChunkRequest(turn, prompt, self.chunks, self._decoder)

  def finish_chunk(self, made: FinishedChunk) -> None:
    """Takes the chunk, and the state back; UserError: the disk is full."""
    self._state, self._decoder = made.state, made.decoder
    self.spool.append(made.latents_FYXC, made.thumbnails)

  def rewind(self, chunk: int) -> None:
    """As it was before `chunk`; UserError where that is not kept."""
    snapshot = self._find(chunk)
    self.journal = self.journal.truncated(chunk)
    self.spool.cut(chunk)
    self._snapshots = {
      n: state for n, state in self._snapshots.items() if n <= chunk
    }
    self._restore(snapshot)

  def fork(self, chunk: int) -> 'LiveFilm':
    """Another film with the same past; UserError where that is not kept."""
    snapshot = self._find(chunk)
    other = LiveFilm(
      self._director, self.seed, self._max_snapshots, self._folder
    )
    other.journal = self.journal.truncated(chunk)
    for number in range(chunk):
      other.spool.append(*self.spool.chunk(number))
    other._snapshots = {
      n: state for n, state in self._snapshots.items() if n < chunk
    }
    other._restore(snapshot)
    return other

  def snapshot(self) -> Snapshot:
    """How things stand; a chunk must not be away."""
    return Snapshot(
      host_state.to_host(self._state), host_state.to_host(self._decoder)
    )

  def load(
    self,
    film: Film,
    snapshot: Snapshot,
    latents: Sequence[np.ndarray],
    thumbnails: Sequence[bytes],
  ) -> None:
    """A film that was written down; UserError where it does not fit."""
    self._restore(snapshot)
    for segment in film.segments:
      self.journal.add(segment)
      for _ in range(segment.chunks):
        self.journal.next_chunk()
    count = self._director.cfg.film.frames_per_chunk
    for n, z_FYXC in enumerate(latents):
      self.spool.append(z_FYXC, thumbnails[n * count : (n + 1) * count])

  def frames(self) -> Iterator[np.ndarray]:
    """All pixel frames so far, decoded anew: uint8 [Y, X, 3] each."""
    made = self.spool.latents()  # now, whatever the film does meanwhile
    videos = self._director.decode(jnp.asarray(z)[None] for z in made)
    return itertools.chain.from_iterable(video[0] for video in videos)

  def _reset(self) -> None:
    self._state = self._director.begin([self.seed])
    shape = (1, *self._director.latent_shape[1:])
    codec = self._director.codec
    self._decoder = codec.init_decode(self._director.codec_params, shape)

  def _take_snapshot(self) -> None:
    self._snapshots[self.chunks] = self.snapshot()
    while len(self._snapshots) > self._max_snapshots:
      del self._snapshots[min(self._snapshots)]

  def _find(self, chunk: int) -> Snapshot | None:
    """None: the beginning."""
    if chunk not in self.rewind_chunks:
      listed = ', '.join(map(str, self.rewind_chunks))
      raise UserError(
        f'what came before chunk {chunk} is not kept; take one of {listed}'
      )
    if chunk == 0:
      return None
    return (
      self._snapshots[chunk] if chunk in self._snapshots else self.snapshot()
    )

  def _restore(self, snapshot: Snapshot | None) -> None:
    like = jax.eval_shape(lambda: self._director.begin([0]))
    if snapshot is None:
      self._reset()
      return
    shape = (1, *self._director.latent_shape[1:])
    init = self._director.codec.init_decode
    params = self._director.codec_params
    decoder = jax.eval_shape(lambda: init(params, shape))
    self._decoder = host_state.to_device(snapshot.decoder, decoder)
    state = host_state.to_device(snapshot.state, like)
    self._state = self._director.place(state)


def decode_output(
  director: Director, asked: ChunkRequest, done: SlotOutput
) -> FinishedChunk:
  """What a turn gave, decoded and on the host; touches no live_film.

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
  return FinishedChunk(
    chunk=asked.chunk,
    prompt=asked.prompt,
    latents_FYXC=z_FYXC,
    video_TYXC=video_TYXC,
    thumbnails=tuple(
      thumbnail(video_TYXC[place(start + n) - place(start)])
      for n in range(count)
    ),
    routed_frames=_routed_frames(done.output),
    window=(max(0, start - cfg.memory.window_frames), start),
    state=done.state,
    decoder=decoder,
  )


def _routed_frames(output: ChunkOutput) -> tuple[RoutedFrame, ...]:
  frame_JLR = np.asarray(output.frame_JLBR)[:, :, 0]
  frames, counts = np.unique(frame_JLR[frame_JLR != EMPTY], return_counts=True)
  passes = frame_JLR.shape[0] * frame_JLR.shape[1]
  most = np.argsort(-counts, kind='stable')[:_MAX_ROUTED_FRAMES]
  return tuple(
    RoutedFrame(int(frames[n]), float(counts[n] / passes)) for n in sorted(most)
  )
