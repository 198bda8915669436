"""The film of `direct --live`, recorded so that nothing of it is lost.

  DIR/film.journal, film.chunks  the record of the film (serving/film/record.py)
  DIR/film.safetensors           a state, from which the record is replayed
  DIR/screenplay.json            what was directed so far

Every chunk, and every line that has arrived, is on the disk before the chunk is
encoded. Ctrl-C and SIGTERM end the film after the chunk in flight, and it is
finished as at the end of its input; a second signal ends the process at once.
After that, or after kill -9, `resume` decodes the recorded chunks again,
generates at most config.serving.state_chunks of them a second time to have
their state, and continues: the film is that of a process that was never ended.
Chunks whose data a loss of power took are planned again, and generated.
"""

import collections
import contextlib
import itertools
import pathlib
import signal
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.directing import stdin
from cinejax.directing.director import Director
from cinejax.directing.memory_reads import ChunkReads
from cinejax.film import directions, screenplay
from cinejax.film.cast import CastPicture, embedded
from cinejax.film.journal import Film, Segment
from cinejax.serving.budget import model_name
from cinejax.serving.cast import set_cast
from cinejax.serving.film import record as record_lib
from cinejax.serving.film.archive import SessionArchive
from cinejax.serving.film.chunk import FinishedChunk, decode_output
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.record import RecordedFilm
from cinejax.serving.film.restoring import FilmFiles
from cinejax.serving.film.slots import make_single_run
from cinejax.serving.plan import Plan

_NAME = 'film'


class LiveRoll:
  """A film that lines of standard input direct."""

  def __init__(
    self,
    director: Director,
    folder: pathlib.Path,
    seed: int,
    recorded: RecordedFilm | None = None,
    image_BFYXC: jax.Array | None = None,
    opening: str | None = None,
    cast: Sequence[CastPicture] = (),
  ):
    """A new film, or one that continues.

    Args:
      director: generates it.
      folder: DIR.
      seed: of its noise.
      recorded: the film so far; None: there is none.
      image_BFYXC: the latents of its first frame; None: it is generated.
      opening: the file of that frame, for the record.
      cast: pictures of characters, for a new film.
    """
    self._director, self._folder = director, folder
    self._image_BFYXC = image_BFYXC
    self._archive = SessionArchive(folder, model_name(director))
    files = FilmFiles(director, self._archive)
    unread: list[str] = []
    if recorded is None:
      self._film = files.new(_NAME, seed, '', opening)
      whole = self._film.screenplay()
      size = director.cfg.film.height, director.cfg.film.width
      if cast:
        set_cast(self._film, (embedded(one, *size) for one in cast))
      self._read = 0  # lines
    else:
      restored = files.restore(_NAME)
      self._film, whole = restored.live_film, restored.film
      self._read = recorded.lines_read
      unread = recorded.lines[self._read :]
    self.stored = self._film.chunks  # that need not be generated
    self._first_line, self._written = self._read, len(unread)
    self._reader = stdin.LineReader(unread)
    self._directions = stdin.directions(
      self._reader, director.cfg.film.cut_prefix, director.check_prompt
    )
    plan = _plan_damaged(self._film, whole, recorded)
    first_chunk = plan.end_chunk or self.stored
    start = sum(segment.chunks for segment in whole.segments[:-1])
    start = plan.directions[-1].chunk if plan.directions else start
    remaining = _remaining(recorded, first_chunk - start)
    self._segments = itertools.chain(
      plan.segments(self.stored, first_chunk),
      self._directions.segments(first_chunk, remaining),
    )
    self.reads: list[ChunkReads] = []  # of the chunks after the stored ones
    self.signal: int | None = None  # that ended the film

  @property
  def error(self) -> UserError | None:
    """What ended the film before its input ended; None: nothing did."""
    return self._directions.error

  @property
  def film(self) -> Film:
    """The screenplay of the film so far."""
    return self._film.screenplay()

  def wait(self) -> bool:
    """Waits for the first prompt; returns whether there is a film."""
    if self.stored:
      return True
    with self._signals():
      first = list(itertools.islice(self._segments, 1))
    self._segments = itertools.chain(first, self._segments)
    return bool(first)

  def chunks(self) -> Iterator[np.ndarray]:
    """Yields uint8 [1, T, Y, X, 3] of each chunk, the stored ones first."""
    live_film = self._film
    with self._signals():
      stored = (live_film.spool.chunk(n)[0] for n in range(self.stored))
      yield from self._director.decode(jnp.asarray(z)[None] for z in stored)
      while live_film.replaying and self.signal is None:
        self._generate()
      for segment in self._segments:
        if self.signal is not None and live_film.chunks:
          break
        yield self._next(segment).video_TYXC[None]
      else:
        self._read = self._first_line + self._reader.used
    self._finish()

  def _next(self, segment: Segment | None) -> FinishedChunk:
    """Generates and records the next chunk."""
    self._write_lines()
    if segment is not None:
      self._film.add_segment(segment)
    self._read = self._first_line + self._reader.used
    chunk = self._generate()
    self.reads.append(chunk.reads)
    if segment is not None:
      screenplay.save(self.film, self._folder / 'screenplay.json')
    ahead = self._film.chunks - self._film.saved_chunks
    if ahead >= self._director.cfg.serving.state_chunks:
      self._archive.save_state(_NAME, self._film)
    return chunk

  def _generate(self) -> FinishedChunk:
    request = self._film.start_chunk()
    slot_input = request.slot_input
    if request.chunk == 0 and self._image_BFYXC is not None:
      image_BYXC = self._image_BFYXC[:, 0]
      chunk_input = slot_input.chunk.replace(image_BYXC=image_BYXC)
      slot_input = slot_input._replace(chunk=chunk_input)
    variant = self._director.variant(request.prompt.settings)
    (output,) = make_single_run(variant)([slot_input])
    chunk = decode_output(self._director, request, output)
    self._film.finish_chunk(chunk, {'read': self._read})
    return chunk

  def _write_lines(self) -> None:
    """Records the lines that have arrived since the last call."""
    new = self._reader.arrived[self._written :]
    if new:
      self._film.write({'lines': new})
      self._written += len(new)

  def _finish(self) -> None:
    self._write_lines()
    self._film.write({'lines': [], 'read': self._read})
    screenplay.save(self.film, self._folder / 'screenplay.json')
    self._archive.flush()
    if not self._film.replaying:
      self._archive.save_state(_NAME, self._film)
      self._archive.flush()

  @contextlib.contextmanager
  def _signals(self) -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM end the film after its chunk."""
    before = {}

    def stop(number: int, _) -> None:
      self.signal = number
      self._reader.stop()
      for one in before:
        signal.signal(one, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
      before[number] = signal.getsignal(number)
      signal.signal(number, stop)
    try:
      yield
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)


def recorded_film(
  director: Director,
  folder: pathlib.Path,
  resume: bool,
  seed: int | None = None,
  image: str | None = None,
  cast: Sequence[CastPicture] = (),
) -> RecordedFilm | None:
  """The film that `folder` records; None for a new film.

  Raises UserError if there is a film and `resume` is not set, if it is set and
  there is none, or if the film has another model, seed or first image; `seed`
  and `image` None agree with any.
  """
  path = folder / f'{_NAME}.journal'
  if resume != path.exists():
    raise UserError(
      f'--out={folder} records no film of --live; leave out --resume'
      if resume
      else f'--out={folder} has a film; add --resume to continue it, or give '
      'another folder'
    )
  if not resume:
    return None
  for partial in folder.glob('.partial-*'):  # of the process that was killed
    partial.unlink()
  recorded = record_lib.read(path)
  if recorded.model != model_name(director):
    raise UserError(
      f'{path} is the film of another model ({recorded.config}); give its '
      '--config and --weights'
    )
  for flag, given, known in (
    ('--seed', seed, recorded.seed),
    ('--image', image, recorded.opening),
  ):
    if given not in (None, known):
      raise UserError(
        f'{flag}={given}, but the film to resume has {known}; leave it out'
      )
  if cast:
    raise UserError(
      '--cast is for new films, and the film to resume has its own; leave it '
      'out'
    )
  return recorded


def _plan_damaged(
  live_film: LiveFilm, whole: Film, recorded: RecordedFilm | None
) -> Plan:
  """The plan of the chunks whose data are damaged, which is recorded.

  Args:
    live_film: the film so far.
    whole: with these chunks.
    recorded: may have a plan of an earlier process, which could not finish it.
  """
  plan = Plan(live_film.write)
  lengths = [segment.chunks for segment in whole.segments]
  planned = recorded is not None and recorded.plan.end_chunk
  if sum(lengths) == live_film.chunks and not planned:
    return plan
  with plan.at_once():
    plan.add_rest(whole.segments, lengths, live_film.chunks)
    if recorded is not None:
      plan.load(recorded.plan.to_json())
  return plan


def _remaining(recorded: RecordedFilm | None, held: int) -> int:
  """Chunks for which the last line has to hold, after `held` of them."""
  if recorded is None:
    return 0
  lines = collections.deque(recorded.lines[: recorded.lines_read])
  while lines:
    with contextlib.suppress(UserError):  # a line that was skipped
      return directions.parse(lines.pop()).chunks - held
  return 0
