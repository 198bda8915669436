"""A viewer's WebSocket: frames out, directions in.

Two tasks, of which either may end the other. What the reader answers goes
through the same queue as the frames, so one task alone sends.
"""

import asyncio
import json
import logging
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from cinejax.core.errors import UserError
from cinejax.serving.http.guard import RateLimiter
from cinejax.serving.studio import Studio
from cinejax.serving.viewer import Viewer

MESSAGE_BYTES = 16_384
_KINDS = ('jpeg', 'webp')
_SLOW_SECS = 20.0  # a send that takes longer has lost its viewer
_ENOUGH, _GONE, _CLOSING = 1008, 4404, 1001


async def live(socket: WebSocket, studio: Studio) -> None:
  """Until the client, the session or the server goes."""
  name, kind = socket.path_params['name'], socket.query_params.get('format')
  cfg, timeline = studio.director.cfg.serving, studio.director.timeline
  frames = (cfg.lead_chunks + 2) * timeline.chunk_pixels
  kind = kind if kind in _KINDS else 'jpeg'
  viewer = Viewer(asyncio.get_running_loop(), kind, frames)
  await socket.accept()
  try:
    await run_in_threadpool(studio.watch, name, viewer)
  except UserError as error:
    await socket.send_json({'type': 'error', 'error': str(error)})
    await socket.close(_GONE)
    return
  limiter = RateLimiter(cfg.messages_per_sec)
  tasks = [
    asyncio.create_task(_send(socket, viewer)),
    asyncio.create_task(_read(socket, studio, name, viewer, limiter)),
  ]
  try:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
  finally:  # awaits nothing: the server may be cancelling this
    for task in tasks:
      task.add_done_callback(_settle)
      task.cancel()
    viewer.lost = True
    studio.unwatch(name, viewer)


def _settle(task: asyncio.Task) -> None:
  if not task.cancelled() and task.exception() is not None:
    logging.error('a socket failed', exc_info=task.exception())


async def _send(socket: WebSocket, viewer: Viewer) -> None:
  try:
    while (one := await viewer.next()) is not None:
      send = socket.send_bytes if isinstance(one, bytes) else socket.send_text
      await asyncio.wait_for(send(one), _SLOW_SECS)
    await socket.close(_ENOUGH if viewer.lost else _CLOSING)
  except (WebSocketDisconnect, RuntimeError, TimeoutError):
    return  # it has gone, or might as well have


async def _read(
  socket: WebSocket,
  studio: Studio,
  name: str,
  viewer: Viewer,
  limiter: RateLimiter,
) -> None:
  while True:
    message = await socket.receive()
    if message['type'] == 'websocket.disconnect':
      return
    if not limiter.allow():
      answer = _error('too many messages; slow down')
      await asyncio.sleep(1 / studio.director.cfg.serving.messages_per_sec)
    else:
      answer = await _answer(studio, name, message)
    await viewer.answer(answer)


async def _answer(
  studio: Studio, name: str, message: dict[str, Any]
) -> dict[str, Any]:
  text = message.get('text')
  if text is None:
    return _error('a direction is a text message')
  if len(text) > MESSAGE_BYTES:
    return _error(f'a message is longer than {MESSAGE_BYTES} characters')
  try:
    document = json.loads(text)
  except (ValueError, RecursionError):
    return _error('a direction is a JSON object such as {"do": "hold"}')
  try:
    answer = await run_in_threadpool(studio.direct, name, document)
  except UserError as error:
    return _error(str(error)) | _ref(document)
  return {'type': 'answer'} | answer | _ref(document)


def _ref(document: Any) -> dict[str, Any]:
  """What is answered."""
  do = document.get('do') if isinstance(document, dict) else None
  return {'do': do} if isinstance(do, str) and len(do) < 20 else {}


def _error(sentence: str) -> dict[str, Any]:
  return {'type': 'error', 'error': sentence[:500]}
