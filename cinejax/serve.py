"""Directs films live: a page for browsers, REST and WebSockets for programs.

  python -m cinejax.serve --config=configs/story.py [--weights=weights/story] \\
    [--lora=FILE:0.8] [--host=127.0.0.1] [--port=8000] [--token=…] \\
    [--workdir=runs/serve]

Only this machine can reach the server, unless --host is another address. Then a
token is required: the page is opened as http://…/?token=…, and programs send
`Authorization: Bearer …`. /openapi.json describes the requests.

Every chunk is recorded in --workdir before it is shown, so the next start goes
on with all films, whatever ended the server; SIGTERM and Ctrl-C end it in
order. A --workdir has one server at a time. config.serving limits sessions,
films and memory.
"""

import dataclasses
import logging
import os
import signal
import socket
import threading
from typing import Any

from absl import flags

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.core.files import check_folder
from cinejax.core.lock import lock_folder
from cinejax.directing.loading import load_director
from cinejax.interop.texts import load_text
from cinejax.serving import budget
from cinejax.serving.demo import DemoMaker
from cinejax.serving.studio import Studio

_CHUNK_SECS = 2.0  # to wait for the chunk in flight
_CLOSE_SECS = 1.5  # to wait for clients to disconnect


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string(
    'weights', None, 'File or folder of the weights; default: weights/NAME.'
  )
  flags.DEFINE_multi_string(
    'lora', [], 'Adapter to merge, FILE or FILE:STRENGTH; may be repeated.'
  )
  flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
  flags.DEFINE_integer(
    'port', 8000, 'Port to listen on; 0: any free one.', 0, 65535
  )
  flags.DEFINE_string('token', '', 'Token that clients have to send.')
  flags.DEFINE_string('workdir', 'runs/serve', 'Folder of saved sessions.')


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  try:
    import uvicorn

    from cinejax.serving.http import connections
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
  lock_folder(folder, '--workdir')
  budget.limit_heap_arenas()
  listening = _listen(args.host, args.port)
  weights = args.weights or f'weights/{cfg.name}'
  director = load_director(cfg, weights, adapters=args.lora)
  # The encoder is on one device, because other threads than the worker use it
  # to check prompts.
  text = load_text(director.cfg.text)
  director = dataclasses.replace(director, text_encoder=text)
  print(
    budget.memory_budget(director).sentence(cfg.serving.sessions), flush=True
  )
  studio = Studio(director, folder)
  demo = DemoMaker(studio)
  app = make_app(studio, LOOPBACK if alone else (), args.token)
  limits = cfg.serving
  connections.raise_file_limit(limits.connections)
  server = uvicorn.Server(
    uvicorn.Config(
      app,
      log_level='warning',
      ws_max_size=4 * MESSAGE_BYTES,
      http=connections.limited(limits.connections, limits.request_secs),
      timeout_graceful_shutdown=1,
      server_header=False,
    )
  )
  _serve(server, studio, demo, listening, args.host)


def _serve(
  server: Any,
  studio: Studio,
  demo: DemoMaker,
  listening: socket.socket,
  host: str,
) -> None:
  """Runs the server, a uvicorn.Server, until a signal arrives."""
  stop = threading.Event()
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
  # uvicorn handles signals only on the main thread.
  thread = threading.Thread(
    target=server.run, kwargs={'sockets': [listening]}, daemon=True
  )
  studio.start()
  demo.start()
  thread.start()
  port = listening.getsockname()[1]
  name = f'[{host}]' if ':' in host else host
  print(f'directing at http://{name}:{port}/', flush=True)
  while thread.is_alive() and not stop.wait(0.5):
    pass
  demo.stop()
  studio.stop(_CHUNK_SECS)
  server.should_exit = True
  thread.join(_CLOSE_SECS)
  print('sessions are saved', flush=True)
  # All sessions are on disk. Exiting at once avoids waiting for a chunk in
  # flight and for the runtime to shut down.
  logging.shutdown()
  os._exit(0 if stop.is_set() else 1)


def _listen(host: str, port: int) -> socket.socket:
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family, backlog=128)
  except OSError as error:
    raise UserError(
      f'--host={host} --port={port}: {error.strerror}; give another one'
    ) from error


if __name__ == '__main__':
  define_flags()
  command.run(main)
