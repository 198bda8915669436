"""The endpoints of a server, from which it is routed and described."""

from typing import Any

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.cast import CastPicture, check_name
from cinejax.film.screenplay import check_object
from cinejax.memory.config import POLICIES
from cinejax.serving import cast
from cinejax.serving.directions import FIELDS
from cinejax.serving.http import comparison_routes, export_routes
from cinejax.serving.http.endpoint import (
  JPEG,
  MP4,
  STILLS,
  Endpoint,
  Path,
  check_film,
  check_title,
)
from cinejax.serving.http.guard import MAX_FILM_BYTES
from cinejax.serving.prompts import PromptReader, vocabulary
from cinejax.serving.registry import NotFoundError
from cinejax.serving.studio import Studio


def model(studio: Studio, path: Path, body: Any) -> Any:
  """The model and its limits, for the page."""
  cfg, timeline = studio.director.cfg, studio.director.timeline
  few_step, sets = (
    cfg.rollout.sampler == 'few_step',
    studio.director.weight_sets,
  )
  students = sorted(sets.students) if sets else []
  allowed = sorted({cfg.rollout.steps, *students}) if students else [1, 2, 4]
  memory = cfg.memory
  routed = memory.bank_frames - memory.window_frames - timeline.frames_per_chunk
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
    'steps_allowed': allowed if few_step else None,
    'students': students,  # steps that have weights of their own
    'routed_frames': memory.routed_frames,
    'routed_frames_max': routed,
    'lora': bool(sets and sets.adapters),
    'guidance': None if cfg.rollout.guidance == 1 else cfg.rollout.guidance,
    'prompt_chars': cfg.serving.prompt_chars,
    'prompt_tokens': cfg.text.words,
    'vocabulary': vocabulary(cfg),
    'actions': cfg.text.steering,
    'film_chunks': cfg.serving.film_chunks,
    'slots': studio.worker.slots.slots,
  }


def read_prompt(studio: Studio, path: Path, body: Any) -> Any:
  """How the model will read a prompt, for those who write it."""
  check_object(body, {'prompt': str}, 'the request')
  prompt, most = (
    body.get('prompt', ''),
    studio.director.cfg.serving.prompt_chars,
  )
  if len(prompt) > most:
    raise UserError(f'the prompt is longer than {most} characters')
  return PromptReader(studio.director).to_json(prompt)


def demo(studio: Studio, path: Path, body: Any) -> Any:
  """A film that the server has made by itself."""
  try:
    return studio.registry.demo_path.read_bytes()
  except OSError as error:
    raise NotFoundError('the first film is not complete yet') from error


def create(studio: Studio, path: Path, body: Any) -> Any:
  """Creates a session, runs a screenplay, or restores a saved session."""
  fields = {'seed': int, 'title': str, 'film': dict, 'restore': str}
  check_object(body, fields, 'the session')
  if 'restore' in body:
    if len(body) > 1:
      raise UserError('restore takes no other field beside it')
    return studio.restore(body['restore'])
  seed, title = body.get('seed'), body.get('title', '')
  screenplay.check_seed(seed, 'the session')
  check_title(title)
  film = None
  if 'film' in body:
    film = screenplay.parse(body['film'], 'the screenplay')
    check_film(studio, film)
  return studio.create(seed, title, film)


def fork(studio: Studio, path: Path, body: Any) -> Any:
  """Creates a session with the beginning of another's film."""
  check_object(body, {'chunk': int}, 'the fork')
  if 'chunk' not in body:
    raise UserError('the fork lacks chunk, the first that it does not share')
  return studio.fork(path['name'], body['chunk'])


def rename(studio: Studio, path: Path, body: Any) -> Any:
  """Gives a film another title."""
  check_object(body, {'title': str}, 'the film')
  if 'title' not in body:
    raise UserError('the film lacks its new title')
  check_title(body['title'])
  return studio.rename(path['name'], body['title'])


def add_picture(studio: Studio, path: Path, body: Any) -> Any:
  """Adds a picture to the cast of a film that has not begun."""
  fields = {'name': str, 'picture': str}
  check_object(body, fields, 'the picture')
  for field in fields:
    if not body.get(field):
      raise UserError(f'the picture lacks its {field}')
  check_name(body['name'], 'the picture')
  one = CastPicture(body['name'], body['picture'])
  return cast.add_picture(studio.registry, path['name'], one)


_ONE = '/sessions/{name:str}'
ENDPOINTS = (
  Endpoint('GET', '/model', model, 'the model and its limits'),
  Endpoint(
    'GET',
    '/demo.mp4',
    demo,
    'a film that this model has made, for a page without one',
    media_type=MP4,
  ),
  Endpoint(
    'POST',
    '/prompt',
    read_prompt,
    'how the model will read a prompt: tokens, unknown words, and notes',
    body={'prompt': str},
  ),
  Endpoint(
    'GET', '/sessions', lambda s, p, b: s.list_sessions(), 'all sessions'
  ),
  Endpoint(
    'POST',
    '/sessions',
    create,
    'creates a session: a new film, a screenplay, or a saved session',
    body={'seed': int, 'title': str, 'film': dict, 'restore': str},
    max_bytes=MAX_FILM_BYTES,
  ),
  Endpoint(
    'GET', _ONE, lambda s, p, b: s.describe(p['name']), 'the state of a session'
  ),
  Endpoint(
    'DELETE',
    _ONE,
    lambda s, p, b: s.close(p['name']),
    'closes a film and deletes it; it can be taken back for some days',
  ),
  Endpoint(
    'PATCH', _ONE, rename, 'gives a film another title', body={'title': str}
  ),
  Endpoint(
    'POST',
    f'{_ONE}/undelete',
    lambda s, p, b: s.undelete(p['name']),
    'takes a deleted film back',
  ),
  Endpoint(
    'GET',
    f'{_ONE}/cast',
    lambda s, p, b: cast.pictures(s.registry, p['name']),
    'the pictures of the characters, as data URLs',
  ),
  Endpoint(
    'POST',
    f'{_ONE}/cast',
    add_picture,
    'adds a picture (a data URL) of a character, before the film begins',
    body={'name': str, 'picture': str},
    max_bytes=MAX_FILM_BYTES,
  ),
  Endpoint(
    'DELETE',
    f'{_ONE}/cast/{{character:str}}',
    lambda s, p, b: cast.remove_character(
      s.registry, p['name'], p['character']
    ),
    'removes the pictures of a character, before the film begins',
  ),
  Endpoint(
    'POST',
    f'{_ONE}/directions',
    lambda s, p, b: s.direct(p['name'], b),
    f'gives a direction; "do" is one of {", ".join(FIELDS)}',
    body={'do': str} | {k: v for f in FIELDS.values() for k, v in f.items()},
  ),
  Endpoint(
    'POST',
    f'{_ONE}/fork',
    fork,
    'creates a session with the same film before any of its chunks',
    body={'chunk': int},
  ),
  Endpoint(
    'POST',
    f'{_ONE}/save',
    lambda s, p, b: s.save(p['name']),
    'saves a session to disk',
  ),
  Endpoint(
    'GET',
    f'{_ONE}/screenplay.json',
    lambda s, p, b: screenplay.document(s.screenplay(p['name'])),
    'the screenplay of the film so far, which generates it again',
    download='screenplay.json',
  ),
  Endpoint(
    'GET',
    f'{_ONE}/film.mp4',
    lambda s, p, b: s.video(p['name']),
    'the film so far',
    media_type=MP4,
    download='film.mp4',
  ),
  Endpoint(
    'GET',
    f'{_ONE}/frames/{{frame:int}}.jpg',
    lambda s, p, b: s.thumbnail(p['name'], p['frame']),
    'a thumbnail of a latent frame',
    media_type=JPEG,
  ),
  Endpoint(
    'GET',
    f'{_ONE}/stills/{{stored:int}}',
    lambda s, p, b: s.stills(p['name'], p['stored']),
    'the frames of a stored chunk (see "stored" of a session) as JPEG: their '
    'number and the size of each, big-endian uint32, and then the JPEGs',
    media_type=STILLS,
  ),
  *comparison_routes.ENDPOINTS,
  *export_routes.ENDPOINTS,
)
