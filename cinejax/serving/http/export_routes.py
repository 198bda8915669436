"""The endpoints of exports: films as files, with progress (exports.py)."""

import re
from typing import Any

from cinejax.film.screenplay import check_object
from cinejax.serving.exports import FORMATS
from cinejax.serving.http.endpoint import Download, Endpoint, Path
from cinejax.serving.studio import Studio


def export(studio: Studio, path: Path, body: Any) -> Any:
  """Queues the writing of a film."""
  check_object(body, {'format': str}, 'the export')
  with studio.registry.changed:
    session = studio.registry.find(path['name'])
    return studio.exports.add(session, body.get('format', 'mp4')).to_json()


def export_file(studio: Studio, path: Path, body: Any) -> Download:
  """The file of a finished export."""
  export, file = studio.exports.open(path['export'])
  suffix, media_type = FORMATS[export.kind]
  kept = re.sub(r'[^\w .,·-]', '', export.title)[:60].strip() or 'film'
  return Download(file, f'{kept}{suffix}', media_type)


def cancel_export(studio: Studio, path: Path, body: Any) -> Any:
  """Ends an export, or deletes its file."""
  studio.exports.cancel(path['export'])
  return {'ok': True}


ENDPOINTS = (
  Endpoint(
    'POST',
    '/sessions/{name:str}/exports',
    export,
    'queues the writing of the film; "format" is mp4 or png',
    body={'format': str},
  ),
  Endpoint(
    'GET',
    '/exports',
    lambda s, p, b: {'exports': s.exports.entries()},
    'all exports, with their progress',
  ),
  Endpoint(
    'GET',
    '/exports/{export:str}',
    lambda s, p, b: s.exports.find(p['export']).to_json(),
    'an export, with its progress',
  ),
  Endpoint(
    'DELETE',
    '/exports/{export:str}',
    cancel_export,
    'ends an export, or deletes its file',
  ),
  Endpoint(
    'GET',
    '/exports/{export:str}/file',
    export_file,
    'the file of a finished export',
    media_type='application/octet-stream',
  ),
)
