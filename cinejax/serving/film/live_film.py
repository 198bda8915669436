"""A film in progress: its prompts, its chunks, and snapshots to rewind to.

A LiveFilm knows nothing of clocks, threads or viewers. Its state is away while
a chunk is in flight: `start_chunk` hands it out, a slot and `decode_output`
(chunk.py) generate the chunk, and `finish_chunk` takes it back. A snapshot of
the state is copied to the host before the first chunk of each segment; the
newest stay.
"""

import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film.journal import Film, Journal, Segment
from cinejax.serving.film import host_state
from cinejax.serving.film.chunk import ChunkRequest, FinishedChunk
from cinejax.serving.film.slots import SlotInput
from cinejax.serving.film.spool import FrameSpool


class Snapshot(NamedTuple):
  """The state of a film between two chunks."""

  state: host_state.HostState
  decoder: host_state.HostState


class LiveFilm:
  """One film; only one thread may use it at a time."""

  def __init__(
    self,
    director: Director,
    seed: int,
    max_snapshots: int,
    folder: pathlib.Path | None = None,
  ):
    """A film without chunks.

    Args:
      director: generates it.
      seed: of its noise.
      max_snapshots: how many snapshots to keep.
      folder: where its chunks are stored; None: where temporary files are.
    """
    self._director, self._max_snapshots = director, max_snapshots
    self._folder = folder
    self.seed = seed
    self.journal = Journal(director.cfg.film.cut_prefix)
    self.spool = FrameSpool(director.latent_shape, folder)
    self._snapshots: dict[int, Snapshot] = {}  # by the chunk that follows
    self._reset()

  @property
  def chunks(self) -> int:
    """The number of finished chunks."""
    return len(self.spool)

  @property
  def chunk_in_flight(self) -> bool:
    """Whether a chunk is being generated."""
    return self._state is None

  @property
  def rewind_chunks(self) -> tuple[int, ...]:
    """The chunks that `rewind` and `fork` accept."""
    now = () if self.chunk_in_flight else (self.chunks,)
    return tuple(sorted({0, *self._snapshots, *now}))

  def screenplay(self, title: str = '') -> Film:
    """The screenplay of the film so far, with the chunk in flight."""
    return Film(self.journal.segments, title, self.seed)

  def add_segment(self, segment: Segment) -> None:
    """Starts a segment with the next chunk."""
    self.journal.add(segment)
    if self.chunks:
      self._take_snapshot()

  def start_chunk(self) -> ChunkRequest:
    """Starts the next chunk; its state is away until `finish_chunk`."""
    prompt = self.journal.next_chunk()
    chunk_input = self._director.chunk_input([prompt])
    slot_input = SlotInput(self._state, chunk_input)
    self._state = None
    return ChunkRequest(slot_input, prompt, self.chunks, self._decoder)

  def finish_chunk(self, chunk: FinishedChunk) -> None:
    """Adds the chunk in flight; UserError if the disk is full."""
    self._state, self._decoder = chunk.state, chunk.decoder
    self.spool.append(chunk.latents_FYXC, chunk.thumbnails)

  def rewind(self, chunk: int) -> None:
    """Goes back to before `chunk`; UserError if it has no snapshot."""
    snapshot = self._find(chunk)
    self.journal = self.journal.truncated(chunk)
    self.spool.truncate(chunk)
    self._snapshots = {
      n: one for n, one in self._snapshots.items() if n <= chunk
    }
    self._restore(snapshot)

  def fork(self, chunk: int) -> 'LiveFilm':
    """Another film with the chunks before `chunk`.

    Raises UserError if `chunk` has no snapshot.
    """
    snapshot = self._find(chunk)
    fork = LiveFilm(
      self._director, self.seed, self._max_snapshots, self._folder
    )
    fork.journal = self.journal.truncated(chunk)
    for number in range(chunk):
      fork.spool.append(*self.spool.chunk(number))
    fork._snapshots = {
      n: one for n, one in self._snapshots.items() if n < chunk
    }
    fork._restore(snapshot)
    return fork

  def snapshot(self) -> Snapshot:
    """A copy of the present state; no chunk may be in flight."""
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
    """Loads a saved film into one without chunks.

    Args:
      film: the screenplay of the chunks.
      snapshot: the state after them.
      latents: [F, Y, X, C] of each chunk.
      thumbnails: of each latent frame.

    Raises:
      UserError: if the snapshot does not fit the model.
    """
    self._restore(snapshot)
    for segment in film.segments:
      self.journal.add(segment)
      for _ in range(segment.chunks):
        self.journal.next_chunk()
    count = self._director.cfg.film.frames_per_chunk
    for n, z_FYXC in enumerate(latents):
      self.spool.append(z_FYXC, thumbnails[n * count : (n + 1) * count])

  def frames(self) -> Iterator[np.ndarray]:
    """Decodes the film so far again: uint8 [Y, X, 3] of each pixel frame."""
    latents = self.spool.latents()  # at once, because the film may continue
    videos = self._director.decode(jnp.asarray(z)[None] for z in latents)
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
    """The state before `chunk`; None: that of a new film."""
    if chunk not in self.rewind_chunks:
      listed = ', '.join(map(str, self.rewind_chunks))
      raise UserError(
        f'there is no snapshot before chunk {chunk}; take one of {listed}'
      )
    if chunk == 0:
      return None
    if chunk in self._snapshots:
      return self._snapshots[chunk]
    return self.snapshot()

  def _restore(self, snapshot: Snapshot | None) -> None:
    if snapshot is None:
      self._reset()
      return
    like = jax.eval_shape(lambda: self._director.begin([0]))
    shape = (1, *self._director.latent_shape[1:])
    init = self._director.codec.init_decode
    params = self._director.codec_params
    decoder = jax.eval_shape(lambda: init(params, shape))
    self._decoder = host_state.to_device(snapshot.decoder, decoder)
    state = host_state.to_device(snapshot.state, like)
    self._state = self._director.place(state)
