"""A film in progress: its prompts, its chunks, and snapshots to rewind to.

A LiveFilm knows nothing of clocks, threads or viewers. Its state is away while
a chunk is in flight: `start_chunk` hands it out, a slot and `decode_output`
(chunk.py) generate the chunk, and `finish_chunk` takes it back. A snapshot of
the state is copied to the host before the first chunk of each segment; the
newest stay.

Seed and prompts determine the state, so a film can go to any chunk that was
ever generated for it (takes.py), and go on after a kill: the newest state
before that chunk is taken, and the chunks between, which are stored already,
are generated again (`replaying`).
"""

import collections
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film.cast import CastPicture
from cinejax.film.journal import ChunkPrompt, Film, Journal, Segment, Settings
from cinejax.film.journal_file import Record
from cinejax.serving.film.chunk import ChunkRequest, FinishedChunk
from cinejax.serving.film.host_state import Snapshot
from cinejax.serving.film.reads import reads_record
from cinejax.serving.film.record import FilmRecord, chunk_record, film_records
from cinejax.serving.film.slots import SlotInput
from cinejax.serving.film.snapshots import Snapshots, begin, place, take
from cinejax.serving.film.spool import Extent, FrameSpool, pack_stills
from cinejax.serving.film.takes import ChunkTree, shared_chunks


class LiveFilm:
  """One film; only one thread may use it at a time."""

  def __init__(
    self,
    director: Director,
    seed: int,
    max_snapshots: int,
    record: FilmRecord | None = None,
  ):
    """A film without chunks.

    Args:
      director: generates it.
      seed: of its noise.
      max_snapshots: how many snapshots to keep.
      record: receives what happens to the film, and stores its chunks; None: a
        temporary file stores them.
    """
    self._director, self.seed, self.record = director, seed, record
    self.cast: tuple[CastPicture, ...] = ()  # embedded
    self.journal = Journal(director.cfg.film.cut_prefix)
    self.tree = ChunkTree()
    self.spool = record.spool if record else FrameSpool(director.latent_shape)
    self.saved_chunks = 0  # of the state on disk
    self._snapshots = Snapshots(max_snapshots)
    self._opened: Segment | None = None  # by the next chunk
    self._replayed: collections.deque[ChunkPrompt] = collections.deque()
    self._state, self._decoder = begin(director, seed)

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
    return (*sorted({n for n in starts if n < self.chunks}), self.chunks)

  def screenplay(self, title: str = '') -> Film:
    """The screenplay of the film so far, with the chunk in flight."""
    return Film(self.journal.segments, title, self.seed, cast=self.cast)

  def set_cast(self, cast: Sequence[CastPicture]) -> None:
    """Gives other pictures, embedded ones, to a film that has not begun.

    Raises UserError as `encode_cast` does.
    """
    self._state, self._decoder = begin(self._director, self.seed, cast)
    self.cast = tuple(cast)

  def add_segment(self, segment: Segment) -> None:
    """Starts a segment with the next chunk."""
    self.journal.add(segment)
    self._opened = segment
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

    Raises UserError if the disk is full; then the state of the film is lost,
    since the one after the chunk is that of another film.
    """
    if self.replaying:
      self._state, self._decoder = chunk.state, chunk.decoder
      self._replayed.popleft()
      chunk.compare(self.spool.chunk(chunk.chunk)[0])
      return
    stills = pack_stills(chunk.stills)
    extent = self.spool.append(chunk.latents_FYXC, chunk.thumbnails, stills)
    opened, self._opened = self._opened, None
    try:
      line = chunk_record(chunk.chunk, extent, opened)
      self.write(line | reads_record(chunk.reads) | (fields or {}))
    except UserError:
      self.spool.forget_last()
      raise
    self._state, self._decoder = chunk.state, chunk.decoder
    self.tree.add(opened)

  def rewind(self, chunk: int, fields: Record | None = None) -> Film:
    """Goes back to before `chunk`; `fields` go into its line of the record.

    Returns what `go` does. Raises UserError if there is no such chunk.
    """
    self.check(chunk)
    self.write({'rewind': chunk} | (fields or {}))
    return self.go(self.tree.at(chunk))

  def go(self, end: int) -> Film:
    """Goes to where chunk `end` of the tree is the last one, or to ROOT.

    If the data of a chunk on this way are damaged, the film ends before it.

    Returns:
      The screenplay of all chunks up to `end`.
    """
    before = self.tree.path
    number, snapshot = self._find(self.tree.path_to(end))
    if not self.chunk_in_flight:
      self._take_snapshot()
    self.tree.go(end)
    film = Film(self._journal().segments, seed=self.seed, cast=self.cast)
    self._select()
    if self.saved_chunks > shared_chunks(before, self.tree.path):
      self.saved_chunks = -1
    if number > self.chunks:
      number, snapshot = 0, None
    self._restore(number, snapshot)
    return film

  def fork(self, chunk: int, record: FilmRecord | None = None) -> 'LiveFilm':
    """Another film with the chunks before `chunk`.

    Raises UserError if there is no such chunk.
    """
    self.check(chunk)
    path = self.tree.path[:chunk]
    number, snapshot = self._find(path)
    fork = LiveFilm(self._director, self.seed, self._snapshots.most, record)
    fork.cast = self.cast
    fork.store(
      self.journal.truncated(chunk).segments,
      (
        (*self.spool.chunk(n), self.spool.stills(stored))
        for n, stored in enumerate(path)
      ),
    )
    fork._snapshots = self._snapshots.renumbered(path[:-1])
    fork.begin((number, snapshot))
    fork.saved_chunks = -1
    return fork

  def check(self, chunk: int) -> None:
    """Raises UserError if the film cannot go back to before `chunk`."""
    if not 0 <= chunk <= self.chunks:
      raise UserError(
        f'there is no chunk {chunk}; go back to one of 0 to {self.chunks}'
      )

  def snapshot(self) -> Snapshot:
    """A copy of the present state; no chunk may be in flight."""
    return take(self._state, self._decoder)

  def store(
    self,
    segments: Sequence[Segment],
    chunks: Iterable[tuple[np.ndarray, Sequence[bytes], bytes]],
  ) -> None:
    """Stores the chunks of a film without any; then call `begin`.

    Args:
      segments: of which they are.
      chunks: what `FrameSpool.append` takes for each of them.
    """
    extents = [self.spool.append(*chunk) for chunk in chunks]
    self.tree.extend(segments)
    self.journal = self._journal()
    if extents:
      self.write(*film_records(self.screenplay(), extents))

  def attach(self, tree: ChunkTree, extents: Sequence[Extent]) -> None:
    """Takes up a tree whose chunks the record has there; then call `begin`."""
    self.tree = tree
    self.spool.attach(extents)
    self._select()

  def begin(self, state: tuple[int, Snapshot] | None) -> None:
    """Takes up a state of the film and the chunks before it; None: no state."""
    number, snapshot = state or (0, None)
    try:
      self._restore(number, snapshot)
    except UserError:  # a damaged file
      number = 0
      self._restore(0, None)
    self.saved_chunks = number

  def write(self, *records: Record) -> None:
    """Writes to the record of the film, if there is one."""
    if self.record is not None:
      self.record.write(*records)

  def write_with_next(self, record: Record) -> None:
    """Puts `record` into the next line of the record (FilmRecord)."""
    if self.record is not None:
      self.record.write_with_next(record)

  def frames(self) -> Iterator[np.ndarray]:
    """Decodes the film so far again: uint8 [Y, X, 3] of each pixel frame."""
    latents = self.spool.latents()  # at once, because the film may continue
    videos = self._director.decode(jnp.asarray(z)[None] for z in latents)
    return (frame for video in videos for frame in video[0])

  def _journal(self) -> Journal:
    return self.tree.journal(self._director.cfg.film.cut_prefix)

  def _select(self) -> None:
    """Reads the path of the tree, and shortens it if its data are damaged."""
    whole = self.spool.select(self.tree.path)
    if whole < len(self.tree.path):
      logging.warning('chunk %d is damaged and is generated again', whole)
      self.write_with_next({'rewind': whole, 'damaged': True})
      self.tree.go(self.tree.at(whole), leave=False)
    self.journal = self._journal()

  def _take_snapshot(self) -> None:
    present = self.chunks - len(self._replayed)
    if present:  # a new film is begun as quickly
      self._snapshots.add(self.tree.at(present), self.snapshot())

  def _find(self, path: Sequence[int]) -> tuple[int, Snapshot | None]:
    """The known state with most chunks of a path before it, and their number.

    The state None is that of a new film.
    """
    number, snapshot = self._snapshots.find(path)
    present = self.chunks - len(self._replayed)
    shared = number < present <= shared_chunks(path, self.tree.path)
    if shared and not self.chunk_in_flight:
      return present, self.snapshot()
    return number, snapshot

  def _restore(self, number: int, snapshot: Snapshot | None) -> None:
    """Takes the state before chunk `number`; the later ones are replayed."""
    self._opened = None
    self._replayed = collections.deque(self.journal.prompts()[number:])
    if snapshot is None:
      self._state, self._decoder = begin(self._director, self.seed, self.cast)
    else:
      self._state, self._decoder = place(self._director, snapshot)
