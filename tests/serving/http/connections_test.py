"""A server on a port: hostile connections, and the Python client."""

import contextlib
import socket
import threading
import time

import pytest

from cinejax.client import Server
from cinejax.core.errors import UserError
from cinejax.film import media
from cinejax.serving.http import connections
from cinejax.serving.http.app import make_app
from cinejax.serving.http.guard import LOOPBACK

uvicorn = pytest.importorskip('uvicorn')
CONNECTIONS, SECS = 150, 2.0
HALF = (
  b'',
  b'GET / HT',
  b'POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{',
)


@pytest.fixture(scope='module')
def port(studio):
  app = make_app(studio, LOOPBACK, 'secret')
  listening = socket.create_server(('127.0.0.1', 0), backlog=128)
  config = uvicorn.Config(
    app, log_level='error', http=connections.limited(CONNECTIONS, SECS)
  )
  server = uvicorn.Server(config)
  thread = threading.Thread(target=server.run, kwargs={'sockets': [listening]})
  thread.start()
  yield listening.getsockname()[1]
  server.should_exit = True
  thread.join(30)


@pytest.fixture
def server(port):
  server = Server(f'http://127.0.0.1:{port}/', 'secret')
  end = time.monotonic() + 60
  while True:
    with contextlib.suppress(UserError):
      server.model()
      return server
    assert time.monotonic() < end


def _open(port, data=b''):
  connection = socket.create_connection(('127.0.0.1', port), timeout=60)
  connection.sendall(data)
  return connection


def test_idle_and_half_requests_leave_other_directors_alone(port, server):
  film = server.film(seed=5)
  film.prompt('a')
  frames = film.frames()
  next(frames)
  with contextlib.ExitStack() as stack:
    hostile = []
    for number in range(3 * CONNECTIONS):
      connection = _open(port, HALF[number % len(HALF)])
      hostile.append(stack.enter_context(connection))
      if number % 50 == 0:
        assert server.model()['fps'] == 480
        next(frames)
    begun = film.state['chunks']
    film.prompt('b', cut=True)
    film.wait(film.state['secs'] + 0.2)
    assert film.state['chunks'] > begun
    start = time.monotonic()
    for connection in hostile:  # each is closed, most of them for others
      with contextlib.suppress(ConnectionError):
        while connection.recv(1024):
          pass
    assert time.monotonic() - start < 10 * SECS
  film.close()


def test_a_client_that_takes_no_answer_is_closed(port, monkeypatch, server):
  monkeypatch.setattr(connections.LimitedProtocol, 'pause_writing', _at_once)
  with _open(port) as slow:
    slow.sendall(
      b'GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n'
      b'Authorization: Bearer secret\r\n\r\n' * 40
    )
    assert server.model()


def _at_once(self):
  """As if it had taken nothing for long."""
  self._stalled_since = -1e9
  self.flow.pause_writing()


@pytest.mark.parametrize(
  'request_bytes',
  [
    b'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n',
    b'GET / HTTP/1.1\r\n\r\n',
    b'GET \xff HTTP/1.1\r\nHost: localhost\r\n\r\n',
    b'\x16\x03\x01\x00\xa5\x01',
    b'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    b'GET /live HTTP/1.1\r\nHost: [::1\r\nUpgrade: websocket\r\n'
    b'Connection: Upgrade\r\n\r\n',
  ],
)
def test_what_is_no_request_gets_4xx_or_nothing(port, request_bytes, server):
  with _open(port, request_bytes) as connection:
    connection.shutdown(socket.SHUT_WR)
    answer = b''
    with contextlib.suppress(ConnectionError):
      while data := connection.recv(4096):
        answer += data
  assert not answer or answer.split()[1].startswith(b'4'), answer


def test_a_program_directs_and_saves_a_film(server, tmp_path):
  with server.film(seed=5, title='From Python') as film:
    film.prompt('a').wait(0.05)
    film.prompt('b', cut=True, chunks=2)
    frame = next(film.frames('webp'))
    assert frame.image[:4] == b'RIFF'
    path = film.save(tmp_path / 'film.mp4', secs=0.15)
    assert media.probe(path).frames > 1
    with pytest.raises(UserError, match='policy is nowhere'):
      film.set(policy='nowhere')
  assert film.state['status'] == 'paused'
  segments = film.screenplay()['segments']
  assert [one['prompt'] for one in segments] == ['a', 'b']
  assert film.name in [one['id'] for one in server.films()['live']]
  assert server.open(film.name).state['title'] == 'From Python'
  film.close()
  with pytest.raises(UserError, match='no such session'):
    _ = film.state
  with pytest.raises(UserError, match='needs its token'):
    Server(server._url).model()


def test_a_server_that_is_not_there_is_a_sentence():
  with pytest.raises(UserError, match='nowhere is no address'):
    Server('nowhere')
  server = Server('http://127.0.0.1:9')
  with pytest.raises(UserError, match='does not answer'):
    server.model()
  with pytest.raises(UserError, match='does not answer'):
    next(server.messages('/sessions/a/live'))
