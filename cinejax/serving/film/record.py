"""The files of one film, from which it is taken up again after any end.

  NAME.journal   what happened to the film, one JSON object a line
  NAME.chunks    the latents and thumbnails of its chunks (spool.py)

A line is on the disk before the chunk that it describes is shown. These are the
lines:

  {"film": 1, "model": …, "config": …, "seed": …, "title": …, "opening": …}
                                      the first line; the opening is the file of
                                      a given first frame, or null
  {"title": …}                        the film has another title
  {"add": [chunk, direction]}         a direction is planned (plan.py)
  {"plan": {…}}                       the whole plan, which replaces the old one
  {"chunk": n, "start": …, "sizes": […], "crc": …, "segment": {…}}
                                      a chunk, and the segment that it opens
  {"rewind": n}                       the film goes on after its first n chunks
  {"lines": […]}                      lines that `direct --live` has read
  "read": n                           beside "lines" or "chunk": so many of the
                                      lines of standard input are used

Lines are only appended. A chunk after which the film was rewound stays in both
files. The data of the chunks is not waited for: with the process everything of
it survives, and of what a loss of power takes with it, the journal generates
the same chunks again.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film import journal_file
from cinejax.film.journal import Film, Journal, Segment
from cinejax.film.journal_file import JournalFile, Record
from cinejax.film.screenplay import segment_fields
from cinejax.serving.film.spool import Extent, FrameSpool
from cinejax.serving.plan import Plan

_VERSION = 1
SUFFIXES = ('journal', 'chunks')
_KINDS = ('title', 'add', 'plan', 'chunk', 'rewind', 'lines')


@dataclasses.dataclass
class RecordedFilm:
  """What a journal says about a film."""

  model: str
  config: str
  seed: int
  title: str
  opening: str | None
  journal: Journal  # of the recorded chunks
  extents: list[Extent]  # of each of them
  plan: Plan  # what is planned after them
  lines: list[str]  # of `direct --live`
  lines_read: int
  length: int  # bytes of whole lines
  dropped: int  # bytes of a half-written last line

  @property
  def film(self) -> Film:
    """The screenplay of the recorded chunks."""
    return Film(self.journal.segments, self.title, self.seed)


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
    self._file = JournalFile(path.with_suffix('.journal'), length)

  @property
  def begun(self) -> bool:
    """Whether there is a journal."""
    return self._file.exists

  def write(self, *records: Record) -> None:
    """Appends records; UserError if the disk is full."""
    header = () if self.begun else (self._header,)
    self._file.append([*header, *records])

  def set_title(self, title: str) -> None:
    """Renames the film."""
    self._header['title'] = title
    if self.begun:
      self.write({'title': title})

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


def read(path: pathlib.Path, cut_prefix: str) -> RecordedFilm:
  """Reads NAME.journal; `cut_prefix` is that of the config.

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
    journal=Journal(cut_prefix),
    extents=[],
    plan=Plan(),
    lines=[],
    lines_read=0,
    length=text.length,
    dropped=text.dropped,
  )
  for number, record in enumerate(text.records[1:], 2):
    try:
      _follow(recorded, record)
    except (KeyError, TypeError, ValueError, IndexError) as error:
      raise UserError(
        f'{path}: line {number} cannot be followed ({error!r}); use the '
        'version of cinejax that wrote it'
      ) from error
  return recorded


def _follow(recorded: RecordedFilm, record: dict[str, Any]) -> None:
  """Changes `recorded` by a line of the journal."""
  if not record.keys() & set(_KINDS):
    raise ValueError('unknown kind')
  recorded.title = record.get('title', recorded.title)
  recorded.model = record.get('model', recorded.model)
  if 'rewind' in record:
    recorded.journal = recorded.journal.truncated(record['rewind'])
    del recorded.extents[record['rewind'] :]
    recorded.plan.clear()
  if 'plan' in record:
    recorded.plan.clear()
    recorded.plan.load(record['plan'])
  if 'add' in record:
    recorded.plan.load({'plan': [record['add']]})
  if 'chunk' in record:
    _add_chunk(recorded, record)
  recorded.lines += record.get('lines', ())
  recorded.lines_read = record.get('read', recorded.lines_read)


def _add_chunk(recorded: RecordedFilm, record: dict[str, Any]) -> None:
  if record['chunk'] != len(recorded.extents):
    raise ValueError('not the next chunk')
  if 'segment' in record:
    recorded.plan.take_due(record['chunk'])
    recorded.plan.forget_taken()
    recorded.journal.add(Segment(chunks=1, **record['segment']))
  recorded.journal.next_chunk()
  extent = Extent(record['start'], record['sizes'], record['crc'])
  recorded.extents.append(extent)
