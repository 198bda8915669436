"""The files of one film, from which it is taken up again after any end.

  NAME.journal   what happened to the film, one JSON object a line
  NAME.chunks    the latents and thumbnails of its chunks (spool.py)

A line is on the disk before the chunk that it describes is shown. These are the
lines:

  {"film": 1, "model": …, "config": …, "seed": …, "title": …, "opening": …,
   "cast": {…}}                       the first line; the opening is the file of
                                      a given first frame, or null; the cast is
                                      that of a screenplay, or absent
  {"title": …}                        the film has another title
  {"cast": {…}}                       the film has other pictures
  {"add": [chunk, direction]}         a direction is planned (plan.py)
  {"plan": {…}}                       the whole plan, which replaces the old one
  {"chunk": n, "start": …, "sizes": […], "crc": …, "segment": {…}}
                                      a chunk, and the segment that it opens
  {"rewind": n}                       the film goes on after its first n chunks
  "damaged": true                     beside it: the others cannot be read
  {"take": n}                         the film goes on at the end of a take
  {"hide": n}                         a take is deleted (takes.py)
  {"undo": true}, {"redo": true}      the last step, or the last that was undone
  "step": true                        beside another line: it can be undone
                                      (history.py)
  "from": n                           beside "plan" and "step": the first chunk
                                      that the new plan concerns
  {"lines": […]}                      lines that `direct --live` has read
  "read": n                           beside "lines" or "chunk": so many of the
                                      lines of standard input are used

Lines are only appended. A chunk after which the film was rewound stays in both
files, and can be chosen again. The data of the chunks is not waited for: with
the process everything of it survives, and of what a loss of power takes with
it, the journal generates the same chunks again.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film import journal_file
from cinejax.film.cast import CastPicture, cast_document, parse_cast
from cinejax.film.journal import Film, Segment
from cinejax.film.journal_file import JournalFile, Record
from cinejax.film.screenplay import segment_fields
from cinejax.serving.film.history import History, Step
from cinejax.serving.film.spool import Extent, FrameSpool
from cinejax.serving.film.takes import ChunkTree
from cinejax.serving.plan import Plan

_VERSION = 1
SUFFIXES = ('journal', 'chunks')
_KINDS = ('title', 'add', 'plan', 'chunk', 'rewind', 'take', 'hide', 'undo')
_KINDS += ('redo', 'lines', 'cast')


@dataclasses.dataclass
class RecordedFilm:
  """What a journal says about a film."""

  model: str
  config: str
  seed: int
  title: str
  opening: str | None
  cast: tuple[CastPicture, ...]
  tree: ChunkTree  # the recorded chunks, and those of them that are the film
  extents: list[Extent]  # of all recorded chunks
  history: History  # the steps that can be undone
  plan: Plan  # what is planned after them
  lines: list[str]  # of `direct --live`
  lines_read: int
  length: int  # bytes of whole lines
  dropped: int  # bytes of a half-written last line

  @property
  def film(self) -> Film:
    """The screenplay of the film."""
    # The prefix of a cut is no part of a screenplay.
    segments = self.tree.journal('').segments
    return Film(segments, self.title, self.seed, cast=self.cast)


class FilmRecord:
  """Writes the files of a film; the journal begins with the first `write`."""

  def __init__(
    self,
    path: pathlib.Path,
    shape: tuple[int, ...],
    header: Record,
    length: int = 0,
  ):
    """A record whose journal holds `length` bytes already.

    Args:
      path: of its files, without a suffix.
      shape: of the latents of a chunk.
      header: of a new journal: model, config, seed, title, opening.
      length: of the whole lines of the journal; 0: it is a new one.
    """
    self.name = path.name
    self.spool = FrameSpool(shape, path=path.with_suffix('.chunks'))
    self._header = {'film': _VERSION} | header
    self._waiting: Record = {}  # for the next line
    self._file = JournalFile(path.with_suffix('.journal'), length)

  @property
  def begun(self) -> bool:
    """Whether there is a journal."""
    return self._file.exists

  def write(self, *records: Record) -> None:
    """Appends records; UserError if the disk is full."""
    header = () if self.begun else (self._header,)
    first, *others = records
    self._file.append([*header, self._waiting | first, *others])
    self._waiting = {}

  def write_with_next(self, record: Record) -> None:
    """Puts `record` into the same line as the next one that is written.

    A film that goes back because of its files loses what comes after, unless
    the next line plans it again. A kill can come between two lines. Before
    that line is written, the files are as they were, and are found so again.
    """
    self._waiting |= record

  def set_title(self, title: str) -> None:
    """Renames the film."""
    self._set({'title': title})

  def set_cast(self, cast: Sequence[CastPicture]) -> None:
    """Gives the film, which has no chunk yet, other pictures."""
    self._set({'cast': cast_document(cast)})

  def _set(self, fields: Record) -> None:
    self._header |= fields
    if self.begun:
      self.write(fields)

  def close(self) -> None:
    """Closes the journal."""
    self._file.close()


def chunk_record(
  number: int, extent: Extent, segment: Segment | None
) -> Record:
  """The line of chunk `number`, which opens `segment` unless that is None."""
  fields = {'chunk': number, 'start': extent.start}
  fields |= {'sizes': list(extent.sizes), 'crc': extent.crc}
  if segment is not None:
    fields['segment'] = {
      key: value
      for key, value in segment_fields(segment).items()
      if key not in ('chunks', 'secs')
    }
  return fields


def film_records(film: Film, extents: Sequence[Extent]) -> list[Record]:
  """The lines of the chunks of a whole film."""
  records: list[Record] = []
  for segment in film.segments:
    for number in range(segment.chunks):
      opened = segment if number == 0 else None
      extent = extents[len(records)]
      records.append(chunk_record(len(records), extent, opened))
  return records


def read(path: pathlib.Path) -> RecordedFilm:
  """Reads NAME.journal.

  Raises UserError if it is no journal, or one of a later version.
  """
  text = journal_file.read(path)
  header = text.records[0] if text.records else {}
  if header.get('film') != _VERSION:
    raise UserError(
      f'{path} is no journal that this version of cinejax reads; use the '
      'version that wrote it'
    )
  recorded = RecordedFilm(
    model=header['model'],
    config=header['config'],
    seed=header['seed'],
    title=header['title'],
    opening=header['opening'],
    cast=parse_cast(header.get('cast', {}), str(path)),
    tree=ChunkTree(),
    extents=[],
    history=History(),
    plan=Plan(),
    lines=[],
    lines_read=0,
    length=text.length,
    dropped=text.dropped,
  )
  for number, record in enumerate(text.records[1:], 2):
    try:
      _follow(recorded, record)
    except (UserError, KeyError, TypeError, ValueError, IndexError) as error:
      raise UserError(
        f'{path}: line {number} cannot be followed ({error!r}); use the '
        'version of cinejax that wrote it'
      ) from error
  return recorded


def _follow(recorded: RecordedFilm, record: dict[str, Any]) -> None:
  """Changes `recorded` by a line of the journal."""
  if not record.keys() & set(_KINDS):
    raise ValueError('unknown kind')
  tree, history = recorded.tree, recorded.history
  if record.get('step'):
    history.add(_step(recorded, record))
  recorded.title = record.get('title', recorded.title)
  if 'cast' in record:
    recorded.cast = parse_cast(record['cast'], 'the journal')
  if 'rewind' in record:
    damaged = record.get('damaged', False) or 'model' in record
    tree.go(tree.at(record['rewind']), leave=not damaged)
    recorded.plan.clear()
  if record.get('model', recorded.model) != recorded.model:
    recorded.model = record['model']
    tree.forget_takes()
    history.clear()
  if 'take' in record:
    tree.go(tree.take(record['take']).path[-1])
    recorded.plan.clear()
  if 'hide' in record:
    tree.hidden |= {record['hide']}
  if 'undo' in record or 'redo' in record:
    chunks = len(tree.path)
    end = history.move('redo' in record, tree, recorded.plan, chunks)
    if end is not None:
      tree.go(end)
  if 'plan' in record:
    recorded.plan.clear()
    recorded.plan.load(record['plan'])
  if 'add' in record:
    recorded.plan.load({'plan': [record['add']]})
  if 'chunk' in record:
    _add_chunk(recorded, record)
  recorded.lines += record.get('lines', ())
  recorded.lines_read = record.get('read', recorded.lines_read)


def _step(recorded: RecordedFilm, record: dict[str, Any]) -> Step:
  """The step of a line, before it is followed."""
  tree, chunk, end = recorded.tree, None, None
  if 'add' in record:
    name, chunk = 'direction', record['add'][0]
  elif 'plan' in record:
    name, chunk = 'plan', record['from']
  elif 'hide' in record:
    name = 'deletion of a take'
  else:
    name = 'retake' if 'rewind' in record else 'choice of a take'
    end = tree.end
  return Step(name, recorded.plan.state(), tree.hidden, chunk, end)


def _add_chunk(recorded: RecordedFilm, record: dict[str, Any]) -> None:
  if record['chunk'] != len(recorded.tree.path):
    raise ValueError('not the next chunk')
  segment = None
  if 'segment' in record:
    recorded.plan.take_due(record['chunk'])
    recorded.plan.forget_taken()
    segment = Segment(chunks=1, **record['segment'])
  recorded.tree.add(segment)
  extent = Extent(record['start'], record['sizes'], record['crc'])
  recorded.extents.append(extent)
