"""A studio over HTTP, with the limits of `cinejax.serve`."""

import threading
import time
from typing import Any

from cinejax.core.errors import UserError
from cinejax.serving.studio import Studio


class HttpServer:
  """Serves a studio over HTTP in a with block, which gets the port."""

  def __init__(self, studio: Studio):
    """Raises UserError if the packages of the server are not installed."""
    try:
      import uvicorn

      from cinejax.serving.http import connections
      from cinejax.serving.http.app import make_app
    except ImportError as error:
      raise UserError(
        f"{error.name} is not installed; pip install 'cinejax[serve]'"
      ) from error
    cfg = studio.director.cfg.serving
    protocol = connections.limited(cfg.connections, cfg.request_secs)
    config = uvicorn.Config(
      make_app(studio), port=0, log_level='warning', http=protocol
    )
    self._server = uvicorn.Server(config)
    self._thread = threading.Thread(target=self._server.run, daemon=True)

  def __enter__(self) -> int:
    self._thread.start()
    while not self._server.started and self._thread.is_alive():
      time.sleep(0.01)
    return self._server.servers[0].sockets[0].getsockname()[1]

  def __exit__(self, *error: Any) -> None:
    self._server.should_exit = True
    self._thread.join(10)
