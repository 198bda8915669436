"""A film in progress: its prompts, its chunks, and snapshots to rewind to.

A LiveFilm knows nothing of clocks, threads or viewers. Its state is away while
a chunk is in flight: `start_chunk` hands it out, a slot and `decode_output`
(chunk.py) generate the chunk, and `finish_chunk` takes it back. A snapshot of
the state is copied to the host before the first chunk of each segment; the
newest stay.

Seed and prompts determine the state, so a film can go back to any chunk, and go
on after a kill: the newest state before that chunk is taken, and the chunks
between, which are stored already, are generated again (`replaying`).
"""

import collections
import itertools
import logging
import pathlib
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film.journal import ChunkPrompt, Film, Journal, Segment, Settings
from cinejax.film.journal_file import Record
from cinejax.serving.film import host_state
from cinejax.serving.film.chunk import ChunkRequest, FinishedChunk
from cinejax.serving.film.host_state import Snapshot
from cinejax.serving.film.reads import reads_record
from cinejax.serving.film.record import FilmRecord, chunk_record, film_records
from cinejax.serving.film.slots import SlotInput
from cinejax.serving.film.spool import FrameSpool


class LiveFilm:
  """One film; only one thread may use it at a time."""

  def __init__(
    self,
    director: Director,
    seed: int,
    max_snapshots: int,
    folder: pathlib.Path | None = None,
    record: FilmRecord | None = None,
  ):
    """A film without chunks.

    Args:
      director: generates it.
      seed: of its noise.
      max_snapshots: how many snapshots to keep.
      folder: where its chunks are stored if it has no record; None: where
        temporary files are.
      record: receives what happens to the film, and stores its chunks.
    """
    self._director, self._max_snapshots = director, max_snapshots
    self.seed, self.record = seed, record
    self.journal = Journal(director.cfg.film.cut_prefix)
    if record is None:
      self.spool = FrameSpool(director.latent_shape, folder)
    else:
      self.spool = record.spool
    self.saved_chunks = 0  # of the state on disk
    self._snapshots: dict[int, Snapshot] = {}  # by the chunk that follows
    self._opened: Segment | None = None  # by the next chunk
    self._replayed: collections.deque[ChunkPrompt] = collections.deque()
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
  def replaying(self) -> bool:
    """Whether the state is that before a chunk that is finished already."""
    return bool(self._replayed)

  @property
  def replay_settings(self) -> Settings:
    """The settings of the chunk that is replayed next."""
    return self._replayed[0].settings

  @property
  def rewind_chunks(self) -> tuple[int, ...]:
    """Where the segments start, and the end: `rewind` accepts any chunk."""
    lengths = (segment.chunks for segment in self.journal.segments)
    starts = itertools.accumulate(lengths, initial=0)
    return tuple(sorted({n for n in starts if n < self.chunks} | {self.chunks}))

  def screenplay(self, title: str = '') -> Film:
    """The screenplay of the film so far, with the chunk in flight."""
    return Film(self.journal.segments, title, self.seed)

  def words(self, chunk: FinishedChunk) -> str:
    """What the memory read for a chunk; shots count from 1, as on the page."""
    shots = [shot + 1 for shot in self.journal.chunk_shots]
    return chunk.reads.words(shots, self._director.timeline)

  def add_segment(self, segment: Segment) -> None:
    """Starts a segment with the next chunk."""
    self.journal.add(segment)
    self._opened = segment
    if self.chunks:
      self._take_snapshot()

  def start_chunk(self) -> ChunkRequest:
    """Starts the next chunk; its state is away until `finish_chunk`."""
    replay = self.replaying
    prompt = self._replayed[0] if replay else self.journal.next_chunk()
    chunk_input = self._director.chunk_input([prompt])
    state = self._director.reseeded(self._state, [prompt])
    slot_input = SlotInput(state, chunk_input)
    self._state = None
    number = self.chunks - len(self._replayed)
    return ChunkRequest(slot_input, prompt, number, self._decoder, replay)

  def finish_chunk(
    self, chunk: FinishedChunk, fields: Record | None = None
  ) -> None:
    """Adds the chunk in flight, and `fields` to its line in the record.

    Raises UserError if the disk is full.
    """
    self._state, self._decoder = chunk.state, chunk.decoder
    if self.replaying:
      self._replayed.popleft()
      self._compare(chunk)
      return
    extent = self.spool.append(chunk.latents_FYXC, chunk.thumbnails)
    opened, self._opened = self._opened, None
    try:
      line = chunk_record(chunk.chunk, extent, opened)
      self.write(line | reads_record(chunk.reads) | (fields or {}))
    except UserError:
      self.spool.truncate(chunk.chunk)
      raise

  def rewind(self, chunk: int) -> None:
    """Goes back to before `chunk`; UserError if there is no such chunk."""
    number, snapshot = self._find(chunk)
    self.write({'rewind': chunk})
    self.journal = self.journal.truncated(chunk)
    self.spool.truncate(chunk)
    self._snapshots = {
      n: one for n, one in self._snapshots.items() if n <= chunk
    }
    if chunk < self.saved_chunks:
      self.saved_chunks = -1
    self._restore(number, snapshot)

  def fork(self, chunk: int, record: FilmRecord | None = None) -> 'LiveFilm':
    """Another film with the chunks before `chunk`.

    Raises UserError if there is no such chunk.
    """
    number, snapshot = self._find(chunk)
    fork = LiveFilm(
      self._director, self.seed, self._max_snapshots, record=record
    )
    fork.journal = self.journal.truncated(chunk)
    fork._copy(self.spool.chunk(number) for number in range(chunk))
    fork._snapshots = {
      n: one for n, one in self._snapshots.items() if n < chunk
    }
    fork.saved_chunks = -1
    fork._restore(number, snapshot)
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
    """Loads a film without a record into one without chunks.

    Args:
      film: the screenplay of the chunks.
      snapshot: the state after them.
      latents: [F, Y, X, C] of each chunk.
      thumbnails: of each latent frame.

    Raises:
      UserError: if the snapshot does not fit the model.
    """
    self._add_segments(film)
    self._restore(self.journal.chunks, snapshot)
    count = self._director.cfg.film.frames_per_chunk
    self._copy(
      (z_FYXC, thumbnails[n * count : (n + 1) * count])
      for n, z_FYXC in enumerate(latents)
    )
    self.saved_chunks = self.chunks

  def attach(
    self, film: Film, state: tuple[int, Snapshot] | None = None
  ) -> None:
    """Takes up the chunks that the spool of the record holds already.

    Args:
      film: the screenplay of the chunks.
      state: a state of this film and the chunks before it; None: there is none.
    """
    self._add_segments(film)
    number, snapshot = state or (0, None)
    try:
      self._restore(number, snapshot)
    except UserError:  # a damaged file
      number = 0
      self._restore(0, None)
    self.saved_chunks = number

  def write(self, *records: Record) -> None:
    """Writes to the record of the film, if it has one."""
    if self.record is not None:
      self.record.write(*records)

  def frames(self) -> Iterator[np.ndarray]:
    """Decodes the film so far again: uint8 [Y, X, 3] of each pixel frame."""
    latents = self.spool.latents()  # at once, because the film may continue
    videos = self._director.decode(jnp.asarray(z)[None] for z in latents)
    return itertools.chain.from_iterable(video[0] for video in videos)

  def _copy(self, chunks: Iterator[tuple[np.ndarray, list[bytes]]]) -> None:
    """Stores the chunks of the journal, and records all of them at once."""
    extents = [self.spool.append(*chunk) for chunk in chunks]
    if extents:
      self.write(*film_records(self.screenplay(), extents))

  def _add_segments(self, film: Film) -> None:
    for segment in film.segments:
      self.journal.add(segment)
      for _ in range(segment.chunks):
        self.journal.next_chunk()

  def _compare(self, chunk: FinishedChunk) -> None:
    stored_FYXC, _ = self.spool.chunk(chunk.chunk)
    if not np.array_equal(chunk.latents_FYXC.astype(np.float32), stored_FYXC):
      logging.warning(
        'chunk %d differs when it is generated again', chunk.chunk
      )

  def _reset(self) -> None:
    self._state = self._director.begin([self.seed])
    shape = (1, *self._director.latent_shape[1:])
    codec = self._director.codec
    self._decoder = codec.init_decode(self._director.codec_params, shape)

  def _take_snapshot(self) -> None:
    self._snapshots[self.chunks] = self.snapshot()
    while len(self._snapshots) > self._max_snapshots:
      del self._snapshots[min(self._snapshots)]

  def _find(self, chunk: int) -> tuple[int, Snapshot | None]:
    """The newest state at `chunk` or before it, and its chunk.

    The state None is that of a new film.
    """
    if not 0 <= chunk <= self.chunks:
      raise UserError(
        f'there is no chunk {chunk}; go back to one of 0 to {self.chunks}'
      )
    known = {n: one for n, one in self._snapshots.items() if n <= chunk}
    number = max(known, default=0)
    present = self.chunks - len(self._replayed)
    if number < present <= chunk and not self.chunk_in_flight:
      return present, self.snapshot()
    return number, known.get(number)

  def _restore(self, number: int, snapshot: Snapshot | None) -> None:
    """Takes the state before chunk `number`; the later ones are replayed."""
    self._opened = None
    self._replayed = collections.deque(self.journal.prompts()[number:])
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
