"""What the memory read for a chunk of a recorded film, from its journal.

The line of a chunk holds `reads`, the frames that were read most with their
shares, and `start`, where the chunk is in the film's file. The latter
identifies it: a chunk that was generated again after the film went back has
another line, and another place. Journals of earlier versions have no reads.
"""

import json
import pathlib

from cinejax.directing.memory_reads import ChunkReads, RoutedFrame
from cinejax.film.journal_file import Record


def reads_record(reads: ChunkReads) -> Record:
  """The fields of a chunk's line."""
  frames = [[one.frame, round(one.share, 4)] for one in reads.frames]
  return {'window': list(reads.window), 'reads': frames}


def recorded_reads(
  path: pathlib.Path, chunk: int, start: int
) -> ChunkReads | None:
  """The reads of the chunk at `start` in the file; None if there are none."""
  wanted = f'"start": {start},'
  try:
    with path.open(encoding='utf-8') as lines:
      found = [line for line in lines if wanted in line]
    for line in reversed(found):
      record = json.loads(line)
      if (record.get('chunk'), record.get('start')) == (chunk, start):
        frames = tuple(RoutedFrame(*one) for one in record['reads'])
        return ChunkReads(chunk, tuple(record['window']), frames)
  except (OSError, ValueError, KeyError, TypeError):
    return None  # of an earlier version, or being written
  return None
