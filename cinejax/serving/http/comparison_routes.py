"""The endpoints that show what the memory does.

What it read for a chunk, and films under several memories side by side.
"""

from typing import Any

from cinejax.directing.memory_reads import ChunkReads
from cinejax.film import screenplay
from cinejax.film.screenplay import check_object
from cinejax.serving import comparing
from cinejax.serving.directions import FIELDS
from cinejax.serving.film.reads import recorded_reads
from cinejax.serving.http.endpoint import (
  Endpoint,
  Path,
  check_film,
  check_title,
)
from cinejax.serving.registry import NotFoundError
from cinejax.serving.studio import Studio

_NO_READS = 'What the memory read here was not recorded.'


def reads(studio: Studio, path: Path, body: Any) -> Any:
  """What the memory read for a chunk of the film, as numbers and in words."""
  name, chunk = path['name'], path['chunk']
  timeline, registry = studio.director.timeline, studio.registry
  with registry.changed:
    film = registry.find(name).live_film
    if chunk >= film.chunks:
      raise NotFoundError(f'the film has no chunk {chunk} yet')
    start = film.spool.start(chunk)
    shots = [shot + 1 for shot in film.journal.chunk_shots]
    names = [one.name for one in film.cast]
  found = recorded_reads(registry.archive.path(name), chunk, start)
  first = chunk * timeline.frames_per_chunk
  window = max(0, first - studio.director.cfg.memory.window_frames), first
  shown = found or ChunkReads(chunk, window, ())
  return {
    'chunk': chunk,
    'window': shown.window,
    'routed_frames': [one for one in shown.frames if one.frame >= 0],
    'words': found.words(shots, timeline, names) if found else _NO_READS,
  }


def start_comparison(studio: Studio, path: Path, body: Any) -> Any:
  """Creates the films of a comparison; see comparing.py."""
  fields = {'policies': list, 'film': dict, 'seed': int, 'title': str}
  check_object(body, fields, 'the comparison')
  screenplay.check_seed(body.get('seed'), 'the comparison')
  check_title(body.get('title', ''))
  film = None
  if 'film' in body:
    film = screenplay.parse(body['film'], 'the screenplay')
    check_film(studio, film)
  return comparing.compare(
    studio,
    body.get('policies', ()),
    film,
    body.get('seed'),
    body.get('title', ''),
  )


ENDPOINTS = (
  Endpoint(
    'GET',
    '/sessions/{name:str}/chunks/{chunk:int}/reads',
    reads,
    'what the memory read for a chunk, as numbers and in words',
  ),
  Endpoint(
    'POST',
    '/comparisons',
    start_comparison,
    'creates a film under each of two to four memory policies, in step',
    body={'policies': list, 'film': dict, 'seed': int, 'title': str},
  ),
  Endpoint(
    'POST',
    '/comparisons/{name:str}/directions',
    lambda s, p, b: comparing.direct(s, p['name'], b),
    'gives a direction to all films that are compared with one',
    body={'do': str} | {k: v for f in FIELDS.values() for k, v in f.items()},
  ),
)
