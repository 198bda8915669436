"""The WebSocket of a viewer, which sends frames and receives directions.

One task sends and one receives; when either ends, the other is cancelled. The
answers to directions go through the same queue as the frames, so that only one
task sends.
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
_FORMATS = ('jpeg', 'webp')
_SEND_SECS = 20.0  # a viewer is lost if sending takes longer
_CODE_TOO_SLOW, _CODE_NO_SESSION, _CODE_END = 1008, 4404, 1001


async def live(socket: WebSocket, studio: Studio) -> None:
  """Serves a viewer until the client, the session or the server ends."""
  name = socket.path_params['name']
  image_format = socket.query_params.get('format')
  cfg, timeline = studio.director.cfg.serving, studio.director.timeline
  frames = (cfg.lead_chunks + 2) * timeline.chunk_pixels
  image_format = image_format if image_format in _FORMATS else 'jpeg'
  viewer = Viewer(asyncio.get_running_loop(), image_format, frames)
  await socket.accept()
  try:
    await run_in_threadpool(studio.watch, name, viewer)
  except UserError as error:
    await socket.send_json({'type': 'error', 'error': str(error)})
    await socket.close(_CODE_NO_SESSION)
    return
  limiter = RateLimiter(cfg.messages_per_sec)
  tasks = [
    asyncio.create_task(_send(socket, viewer)),
    asyncio.create_task(_read(socket, studio, name, viewer, limiter)),
  ]
  try:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
  finally:  # without await, because the server may be cancelling this task
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
    while (message := await viewer.next()) is not None:
      is_frame = isinstance(message, bytes)
      send = socket.send_bytes if is_frame else socket.send_text
      await asyncio.wait_for(send(message), _SEND_SECS)
    await socket.close(_CODE_TOO_SLOW if viewer.lost else _CODE_END)
  except (WebSocketDisconnect, RuntimeError, TimeoutError):
    return  # the client is gone, or too slow


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
    await viewer.reply(answer)


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
  """The kind of direction that an answer is for."""
  do = document.get('do') if isinstance(document, dict) else None
  return {'do': do} if isinstance(do, str) and len(do) < 20 else {}


def _error(sentence: str) -> dict[str, Any]:
  return {'type': 'error', 'error': sentence[:500]}
