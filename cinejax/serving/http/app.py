"""The ASGI application of a server: REST, WebSocket and the page."""

import json
import os
import pathlib
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from cinejax.core.errors import UserError
from cinejax.serving.http.endpoint import (
  JPEG,
  JSON,
  STILLS,
  Download,
  Endpoint,
)
from cinejax.serving.http.guard import Guard
from cinejax.serving.http.openapi import openapi_document
from cinejax.serving.http.routes import ENDPOINTS
from cinejax.serving.http.socket import live
from cinejax.serving.registry import CapacityError, NotFoundError
from cinejax.serving.studio import Studio

_STATIC = pathlib.Path(__file__).parent / 'static'
_BLOCK_BYTES = 65_536  # of a file, sent at once
_TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}


def make_app(
  studio: Studio, hosts: Sequence[str] = (), token: str = ''
) -> Starlette:
  """The application of `studio`; see Guard for `hosts` and `token`."""

  async def socket(websocket: WebSocket) -> None:
    await live(websocket, studio)

  routes = [_route(studio, endpoint) for endpoint in ENDPOINTS]
  routes.append(WebSocketRoute('/sessions/{name:str}/live', socket))
  routes += _page()
  document = json.dumps(openapi_document(ENDPOINTS)).encode()
  routes.append(_fixed('/openapi.json', document, JSON))
  rate = studio.director.cfg.serving.messages_per_sec
  guard = Middleware(Guard, hosts=hosts, token=token, rate=rate)
  return Starlette(
    routes=routes,
    middleware=[guard],
    exception_handlers={
      UserError: _user_error,
      ClientDisconnect: _hung_up,
      404: _unknown_route,
      405: _unknown_route,
    },
  )


def _route(studio: Studio, endpoint: Endpoint) -> Route:
  async def serve(request: Request) -> Response:
    body = None
    if endpoint.body is not None:
      body = await _body(request, endpoint.max_bytes)
    answer = await run_in_threadpool(
      endpoint.handler, studio, request.path_params, body
    )
    # The page puts the film's revision into the address of a thumbnail, so
    # that its image never changes. Neither do the stills of a stored chunk.
    fixed = endpoint.media_type in (JPEG, STILLS)
    caching = 'private, max-age=86400' if fixed else 'no-store'
    headers = {'cache-control': caching}
    if isinstance(answer, Download):
      return _download(answer, headers)
    if endpoint.download:
      name = f'attachment; filename="{endpoint.download}"'
      headers['content-disposition'] = name
    if endpoint.media_type == JSON:
      return JSONResponse(answer, headers=headers)
    return Response(answer, headers=headers, media_type=endpoint.media_type)

  return Route(endpoint.path, serve, methods=[endpoint.method])


def _download(download: Download, headers: dict[str, str]) -> Response:
  """Sends an open file, which may be deleted from its folder meanwhile."""
  size = os.fstat(download.file.fileno()).st_size
  name = urllib.parse.quote(download.name)
  headers |= {
    'content-length': str(size),
    'content-disposition': f"attachment; filename*=utf-8''{name}",
  }
  return StreamingResponse(
    _blocks(download.file), headers=headers, media_type=download.media_type
  )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
  with file:
    while block := file.read(_BLOCK_BYTES):
      yield block


async def _body(request: Request, max_bytes: int) -> object:
  """The JSON of a body, read up to `max_bytes`; an empty body is {}."""
  data = bytearray()
  async for part in request.stream():
    data += part
    if len(data) > max_bytes:
      raise UserError(f'the request is longer than {max_bytes} bytes')
  try:
    return json.loads(bytes(data) or b'{}')
  except (ValueError, RecursionError) as error:
    raise UserError('the request is not JSON') from error


def _page() -> list[Route]:
  """The files of the page, read once, so that no request opens a file."""
  routes = []
  for path in sorted(_STATIC.iterdir()):
    if path.suffix in _TYPES:
      route = '/' if path.name == 'index.html' else f'/{path.name}'
      routes.append(_fixed(route, path.read_bytes(), _TYPES[path.suffix]))
  return routes


def _fixed(path: str, content: bytes, media_type: str) -> Route:
  async def serve(request: Request) -> Response:
    headers = {'cache-control': 'no-cache'}
    return Response(content, headers=headers, media_type=media_type)

  return Route(path, serve)


def _user_error(request: Request, error: Exception) -> Response:
  status = 400
  if isinstance(error, NotFoundError):
    status = 404
  elif isinstance(error, CapacityError):
    status = 503
  return JSONResponse({'error': str(error)}, status)


def _hung_up(request: Request, error: Exception) -> Response:
  """The client is gone, in the middle of its request: nobody reads this."""
  return Response(status_code=400)


def _unknown_route(request: Request, error: Exception) -> Response:
  status = getattr(error, 'status_code', 404)
  return JSONResponse({'error': 'there is nothing here'}, status)
