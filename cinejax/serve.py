"""Directs films live: a page for browsers, REST and WebSockets for programs.

  python -m cinejax.serve --config=configs/story.py [--weights=weights/story] \\
    [--host=127.0.0.1] [--port=8000] [--token=…] [--workdir=runs/serve]

Only this machine reaches it unless --host says otherwise, and then it wants a
token: the page is opened as http://…/?token=…, programs send `Authorization:
Bearer …`. /openapi.json describes what can be asked.

SIGTERM and Ctrl-C save every session into --workdir and close; the next start
takes them up again. config.serving bounds sessions, films and memory.
"""

import dataclasses
import logging
import os
import signal
import socket
import threading

from absl import flags

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.core.files import check_folder
from cinejax.directing.loading import load_director
from cinejax.interop.texts import load_text
from cinejax.serving import budget
from cinejax.serving.studio import Studio

_CHUNK_SECS = 2.0  # how long the chunk in hand is waited for
_CLOSE_SECS = 1.5  # and clients that do not hang up


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('weights', None, 'File or folder; weights/NAME.')
  flags.DEFINE_string('host', '127.0.0.1', 'Address to listen at.')
  flags.DEFINE_integer('port', 8000, '0 = any that is free.', 0, 65535)
  flags.DEFINE_string('token', '', 'What clients have to know.')
  flags.DEFINE_string('workdir', 'runs/serve', 'Folder of saved sessions.')


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  try:
    import uvicorn

    from cinejax.serving.http.app import make_app
    from cinejax.serving.http.guard import LOOPBACK
    from cinejax.serving.http.socket import MESSAGE_BYTES
  except ImportError as error:
    raise UserError(
      f"{error.name} is not installed; pip install 'cinejax[serve]'"
    ) from error
  alone = args.host in LOOPBACK
  if not alone and not args.token:
    raise UserError(
      f'--host={args.host} lets other machines in; give --token=… as well'
    )
  folder = check_folder(args.workdir)
  budget.limit_heap_arenas()
  listening = _listen(args.host, args.port)
  director = load_director(cfg, args.weights or f'weights/{cfg.name}')
  # on one device: what is typed is read by other threads than the maker
  text = load_text(director.cfg.text)
  director = dataclasses.replace(director, text_encoder=text)
  print(
    budget.memory_budget(director).sentence(cfg.serving.sessions), flush=True
  )
  studio = Studio(director, folder)
  app = make_app(studio, LOOPBACK if alone else (), args.token)
  server = uvicorn.Server(
    uvicorn.Config(
      app,
      log_level='warning',
      ws_max_size=4 * MESSAGE_BYTES,
      limit_concurrency=256,
      timeout_graceful_shutdown=1,
      server_header=False,
    )
  )
  _serve(server, studio, listening, args.host)


def _serve(server, studio: Studio, listening: socket.socket, host: str) -> None:
  """Until a signal comes."""
  stop = threading.Event()
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
  # uvicorn leaves signals alone on any thread but the main one
  thread = threading.Thread(
    target=server.run, kwargs={'sockets': [listening]}, daemon=True
  )
  studio.start()
  thread.start()
  port = listening.getsockname()[1]
  name = f'[{host}]' if ':' in host else host
  print(f'directing at http://{name}:{port}/', flush=True)
  while thread.is_alive() and not stop.wait(0.5):
    pass
  studio.stop(_CHUNK_SECS)
  server.should_exit = True
  thread.join(_CLOSE_SECS)
  print('sessions are saved', flush=True)
  # All is on disk. Whoever stops a server waits for no chunk that is still
  # being made, nor for a runtime that takes itself apart.
  logging.shutdown()
  os._exit(0 if stop.is_set() else 1)


def _listen(host: str, port: int) -> socket.socket:
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family, backlog=128)
  except OSError as error:
    raise UserError(
      f'--host={host} --port={port}: {error.strerror}; take another'
    ) from error


if __name__ == '__main__':
  define_flags()
  command.run(main)
