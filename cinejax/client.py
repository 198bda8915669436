"""Directs films of a server (cinejax.serve) from Python.

  from cinejax.client import Server
  with Server('http://127.0.0.1:8000').film() as film:
    film.prompt('Ada walks left in the forest, wide shot').save('film.mp4', 4)

docs/serving.md describes the directions, whose fields are the arguments of
`prompt` and `set`. An answer of the server that is an error raises UserError
with its sentence.
"""

import contextlib
import http.client
import json
import pathlib
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.serving.viewer import HEADER

_POLL_SECS = 0.2
_MESSAGE_BYTES = 1 << 26


class Frame(NamedTuple):
  """A frame of a film, as the server sends it to viewers."""

  number: int  # in the film, from 0
  image: bytes  # JPEG, or WebP if that was asked for


class Server:
  """A server, by its address."""

  def __init__(self, url: str = 'http://127.0.0.1:8000', token: str = ''):
    if not url.startswith(('http://', 'https://')):
      raise UserError(
        f'{url} is no address of a server; it looks like http://127.0.0.1:8000'
      )
    self._url, self._token = url.rstrip('/'), token

  @property
  def headers(self) -> dict[str, str]:
    """What every request says."""
    return {'Authorization': f'Bearer {self._token}'} if self._token else {}

  def ask(self, method: str, path: str, body: Any = None) -> Any:
    """The JSON that the server answers; /openapi.json lists the requests."""
    return json.loads(self.read(method, path, body))

  def read(self, method: str, path: str, body: Any = None) -> bytes:
    """The answer of the server; UserError if it is an error."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
      f'{self._url}{path}', data, self.headers, method=method
    )
    try:
      with urllib.request.urlopen(request) as answer:
        return answer.read()
    except urllib.error.HTTPError as error:
      raise UserError(_sentence(error)) from error
    except (OSError, http.client.HTTPException) as error:
      raise UserError(f'{self._url} does not answer ({error})') from error

  def model(self) -> dict[str, Any]:
    """The model of the server, and its limits."""
    return self.ask('GET', '/model')

  def films(self) -> dict[str, Any]:
    """The films of the server: `live`, `saved` and `deleted`."""
    return self.ask('GET', '/sessions')

  def film(
    self,
    screenplay: dict[str, Any] | None = None,
    seed: int | None = None,
    title: str = '',
  ) -> 'Film':
    """A new film, which runs `screenplay` or waits for its first prompt."""
    given = {'film': screenplay, 'seed': seed, 'title': title or None}
    body = {name: one for name, one in given.items() if one is not None}
    return Film(self, self.ask('POST', '/sessions', body)['id'])

  def open(self, name: str) -> 'Film':
    """A film of the server by its id, whether it is live or saved."""
    return Film(self, self.ask('POST', '/sessions', {'restore': name})['id'])

  def messages(self, path: str) -> Iterator[str | bytes]:
    """What a WebSocket of the server sends, until the server closes it.

    Raises UserError if it cannot be opened, or breaks.
    """
    try:
      from websockets.exceptions import WebSocketException
      from websockets.sync.client import connect
    except ImportError as error:
      raise UserError(
        "websockets is not installed; pip install 'cinejax[serve]'"
      ) from error
    url = 'ws' + self._url.removeprefix('http') + path
    try:
      with connect(
        url, additional_headers=self.headers, max_size=_MESSAGE_BYTES
      ) as socket:
        yield from socket
    except (OSError, WebSocketException) as error:
      raise UserError(f'{self._url} does not answer ({error})') from error


class Film:
  """A film that is directed; leaving a `with` block pauses it."""

  def __init__(self, server: Server, name: str):
    self._server, self.name = server, name

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    with contextlib.suppress(UserError):  # it may be gone, or the server
      self.direct('pause')

  @property
  def state(self) -> dict[str, Any]:
    """The session: status, chunks, secs, segments, planned, settings, …"""
    return self._ask('GET', '')

  def prompt(self, text: str, cut: bool = False, **fields: Any) -> Self:
    """Says what is seen from the next chunk on; see `prompt` in the docs."""
    return self.direct('prompt', prompt=text, cut=cut, **fields)

  def set(self, **settings: Any) -> Self:
    """Changes policy, steps, guidance, routed_frames or lora_strength."""
    return self.direct('set', **settings)

  def direct(self, do: str, **fields: Any) -> Self:
    """Gives any direction."""
    self._ask('POST', '/directions', {'do': do} | fields)
    return self

  def wait(self, secs: float) -> Self:
    """Waits until the film is `secs` long, or does not roll any more.

    A film pauses while nobody watches it, so it is watched meanwhile.
    """
    for message in self._watch('jpeg'):
      is_event = isinstance(message, dict)
      if is_event and message['type'] in ('session', 'chunk'):
        state = self.state
        if state['secs'] >= secs or _stopped(state):
          return self
    raise UserError('the server closed the film before it was long enough')

  def frames(self, image_format: str = 'jpeg') -> Iterator[Frame]:
    """Yields frames as they are generated, until the film does not roll.

    Args:
      image_format: jpeg or webp.
    """
    for message in self._watch(image_format):
      if isinstance(message, Frame):
        yield message
      elif message['type'] == 'session' and _stopped(message):
        return

  def screenplay(self) -> dict[str, Any]:
    """The screenplay of the film so far, which `direct` reads."""
    return self._ask('GET', '/screenplay.json')

  def save(
    self, path: str, secs: float = 0.0, image_format: str = 'mp4'
  ) -> pathlib.Path:
    """Writes the film to a file, once it is `secs` long.

    Args:
      path: of the file.
      secs: see `wait`.
      image_format: mp4, or png for a ZIP archive of PNG files.
    """
    if secs:
      self.wait(secs)
    export = self._ask('POST', '/exports', {'format': image_format})
    where = f'/exports/{export["id"]}'
    while export['status'] in ('queued', 'running'):
      time.sleep(_POLL_SECS)
      export = self._server.ask('GET', where)
    if export['status'] != 'done':
      raise UserError(f'the film was not written ({export["error"]})')
    data, file = self._server.read('GET', f'{where}/file'), pathlib.Path(path)
    with atomic_path(file) as part:
      part.write_bytes(data)
    return file

  def close(self) -> None:
    """Deletes the film; the server can take it back for some days."""
    self._ask('DELETE', '')

  def _watch(self, image_format: str) -> Iterator[Frame | dict[str, Any]]:
    """Yields the frames and the events of the film."""
    path = f'/sessions/{self.name}/live?format={image_format}'
    for message in self._server.messages(path):
      if isinstance(message, bytes):
        _, number = HEADER.unpack_from(message)
        yield Frame(number, message[HEADER.size :])
      elif (event := json.loads(message))['type'] == 'error':
        raise UserError(event['error'])
      else:
        yield event

  def _ask(self, method: str, path: str, body: Any = None) -> Any:
    return self._server.ask(method, f'/sessions/{self.name}{path}', body)


def _stopped(session: dict[str, Any]) -> bool:
  """Whether the film does not roll, and does not wait for a program."""
  return session['status'] != 'rolling' and not session['compiling']


def _sentence(error: urllib.error.HTTPError) -> str:
  """The sentence of an answer that is an error."""
  try:
    return json.loads(error.read())['error']
  except (ValueError, KeyError, TypeError):
    return f'the server answers {error.code}'
