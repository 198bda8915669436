"""What can be asked over HTTP, each thing once: it is served and described.

A handler takes (studio, path, body) and gives what JSON can say, or bytes of
the route's kind; it runs on a thread of its own and raises UserError.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.screenplay import check_object
from cinejax.memory.config import POLICIES
from cinejax.serving.directions import FIELDS
from cinejax.serving.studio import Studio

Path = Mapping[str, Any]
Handler = Callable[[Studio, Path, Any], Any]
JSON, JPEG, MP4 = 'application/json', 'image/jpeg', 'video/mp4'


@dataclasses.dataclass(frozen=True)
class Endpoint:
  method: str
  path: str  # as Starlette writes it
  handler: Handler
  summary: str  # one line
  kind: str = JSON  # of the answer
  body: Mapping[str, Any] | None = None  # fields of a JSON object
  download: str = ''  # name of a file that a browser saves


def model(studio: Studio, path: Path, body: Any) -> Any:
  """What a page has to know of the model."""
  cfg, timeline = studio.director.cfg, studio.director.timeline
  few = cfg.rollout.sampler == 'few_step'
  return {
    'name': cfg.name,
    'fps': cfg.film.fps,
    'height': cfg.film.height,
    'width': cfg.film.width,
    'chunk_secs': timeline.chunk_secs,
    'frames_per_chunk': timeline.frames_per_chunk,
    'stride': timeline.stride,
    'policy': cfg.memory.policy,
    'policies': POLICIES,
    'steps': cfg.rollout.steps,
    'steps_allowed': [1, 2, 4] if few else None,
    'guidance': None if cfg.rollout.guidance == 1 else cfg.rollout.guidance,
    'prompt_chars': cfg.serving.prompt_chars,
    'film_chunks': cfg.serving.film_chunks,
    'slots': studio.worker.slots.slots,
  }


def create(studio: Studio, path: Path, body: Any) -> Any:
  """A new film, a screenplay, or a saved session."""
  fields = {'seed': int, 'title': str, 'film': dict, 'restore': str}
  check_object(body, fields, 'the session')
  if 'restore' in body:
    if len(body) > 1:
      raise UserError('restore takes nothing beside it')
    return studio.restore(body['restore'])
  seed, title = body.get('seed'), body.get('title', '')
  if seed is not None and not 0 <= seed < 2**32:
    raise UserError(f'seed is {seed}; it must be 0 to {2**32 - 1}')
  if len(title) > _TITLE_CHARS:
    raise UserError(f'the title is longer than {_TITLE_CHARS} characters')
  film = None
  if 'film' in body:
    film = screenplay.parse(body['film'], 'the screenplay')
    _check_film(studio, film)
  return studio.create(seed, title, film)


def fork(studio: Studio, path: Path, body: Any) -> Any:
  check_object(body, {'chunk': int}, 'the fork')
  if 'chunk' not in body:
    raise UserError('the fork lacks chunk: where it leaves the film')
  return studio.fork(path['name'], body['chunk'])


def _check_film(studio: Studio, film: screenplay.Film) -> None:
  cfg = studio.director.cfg.serving
  if len(film.title) > _TITLE_CHARS:
    raise UserError(f'the title is longer than {_TITLE_CHARS} characters')
  if any(len(one.full_prompt) > cfg.prompt_chars for one in film.segments):
    raise UserError(f'a prompt is longer than {cfg.prompt_chars} characters')
  secs = studio.director.timeline.chunk_secs
  if sum(screenplay.segment_chunks(film, secs)) > cfg.film_chunks:
    raise UserError(f'a film has {cfg.film_chunks} chunks at most')


_TITLE_CHARS = 200
_ONE = '/sessions/{name:str}'
ENDPOINTS = (
  Endpoint('GET', '/model', model, 'the model and its limits'),
  Endpoint(
    'GET', '/sessions', lambda s, p, b: s.list_sessions(), 'all sessions'
  ),
  Endpoint(
    'POST',
    '/sessions',
    create,
    'a session: a new film, a screenplay that runs, or a saved session',
    body={'seed': int, 'title': str, 'film': dict, 'restore': str},
  ),
  Endpoint('GET', _ONE, lambda s, p, b: s.describe(p['name']), 'how it stands'),
  Endpoint(
    'DELETE', _ONE, lambda s, p, b: s.close(p['name']), 'ends and forgets it'
  ),
  Endpoint(
    'POST',
    f'{_ONE}/directions',
    lambda s, p, b: s.direct(p['name'], b),
    f'a direction; "do" is one of {", ".join(FIELDS)}',
    body={'do': str} | {k: v for f in FIELDS.values() for k, v in f.items()},
  ),
  Endpoint(
    'POST',
    f'{_ONE}/fork',
    fork,
    'another session with the same film before a kept chunk',
    body={'chunk': int},
  ),
  Endpoint(
    'POST',
    f'{_ONE}/save',
    lambda s, p, b: s.save(p['name']),
    'writes it to disk now',
  ),
  Endpoint(
    'GET',
    f'{_ONE}/screenplay.json',
    lambda s, p, b: screenplay.document(s.screenplay(p['name'])),
    'what was directed so far; it makes the film again',
    download='screenplay.json',
  ),
  Endpoint(
    'GET',
    f'{_ONE}/film.mp4',
    lambda s, p, b: s.video(p['name']),
    'the film so far',
    kind=MP4,
    download='film.mp4',
  ),
  Endpoint(
    'GET',
    f'{_ONE}/frames/{{frame:int}}.jpg',
    lambda s, p, b: s.thumbnail(p['name'], p['frame']),
    'a still of a latent frame',
    kind=JPEG,
  ),
)
