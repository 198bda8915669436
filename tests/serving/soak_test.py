"""A server under bad manners and for a long time, over real sockets.

CINEJAX_SOAK_SECS says how long the soak lasts, a minute by default; `-s` shows
its figures.
"""

import http.client
import itertools
import json
import os
import pathlib
import random
import resource
import socket
import threading
import time
import urllib.request

import pytest
from websockets.sync.client import connect

from cinejax.benchmarks import soaking
from cinejax.benchmarks.http_server import HttpServer
from cinejax.serving.budget import limit_heap_arenas
from cinejax.serving.http import connections
from cinejax.serving.studio import Studio

pytestmark = pytest.mark.slow
MALFORMED = 10_000
HOSTILE = 1_000  # connections
SOAK_SECS = float(os.environ.get('CINEJAX_SOAK_SECS', '60'))


@pytest.fixture(scope='module')
def server(with_settings, tmp_path_factory):
  """Its address, and its studio."""
  director = with_settings(
    film={'fps': 8.0},
    serving={
      'messages_per_sec': 1e6,
      'film_chunks': 10_000,
      'sessions': 4,
    },
  )
  limit_heap_arenas()
  connections.raise_file_limit(director.cfg.serving.connections + 2 * HOSTILE)
  studio = Studio(director, tmp_path_factory.mktemp('sessions'))
  studio.start()
  with HttpServer(studio) as port:
    yield f'127.0.0.1:{port}', studio
  studio.stop(10)


def _ask(address, path, body=None, method=None):
  data = None if body is None else json.dumps(body).encode()
  url = f'http://{address}{path}'
  request = urllib.request.Request(url, data, method=method)
  with urllib.request.urlopen(request) as answer:
    return json.load(answer)


def _noise(draw):
  """A message that no client should send."""
  keys = ('do', 'prompt', 'cut', 'chunk', 'at_secs', 'policy', 'x')
  values = (None, True, -1, 1e308, 'a', '', [], {}, 'hold ', [[[]]])
  kind = draw.randrange(4)
  if kind == 0:
    return bytes(draw.randrange(256) for _ in range(draw.randrange(64)))
  if kind == 1:
    return ''.join(chr(draw.randrange(32, 0x2FFF)) for _ in range(50))
  if kind == 2:
    return '[' * draw.randrange(5000)
  fields = {draw.choice(keys): draw.choice(values) for _ in range(3)}
  return json.dumps(fields | {'do': draw.choice(['prompt', 'rewind', 7, 'no'])})


def test_every_malformed_message_gets_an_error(server):
  address, _ = server
  name = _ask(address, '/sessions', {'seed': 1})['id']
  draw, errors = random.Random(0), 0
  with connect(f'ws://{address}/sessions/{name}/live') as live:
    for _ in range(MALFORMED):
      live.send(_noise(draw))
      while json.loads(live.recv())['type'] == 'session':
        pass
      errors += 1
    live.send('{"do": "prompt", "prompt": "still here"}')
    while not isinstance(live.recv(), bytes):
      pass
  assert errors == MALFORMED
  _ask(address, f'/sessions/{name}', method='DELETE')


class _Hostile(threading.Thread):
  """Holds connections open that send nothing, or a byte now and then.

  A connection that the server closes is opened again.
  """

  def __init__(self, address):
    super().__init__()
    host, _, port = address.partition(':')
    self._address, self._stopped = (host, int(port)), threading.Event()
    self.opened = 0
    self._sockets = [self._open() for _ in range(HOSTILE)]

  def run(self):
    for turn in itertools.count():
      for number, one in enumerate(self._sockets):
        if self._stopped.wait(0.02):
          return
        slow = number % 2 == 0
        try:
          if slow:
            one.send(b'GET / HTTP/1.1\r\nX: '[turn : turn + 1] or b'x')
          elif one.recv(1) == b'':
            raise ConnectionError
        except BlockingIOError:
          continue  # it is open
        except ConnectionError:
          one.close()
          self._sockets[number] = self._open()

  def stop(self):
    self._stopped.set()
    self.join()
    for one in self._sockets:
      one.close()

  def _open(self):
    self.opened += 1
    one = socket.create_connection(self._address, timeout=60)
    one.setblocking(False)
    return one


def _rate(live, secs):
  """Frames per second that arrive over whole chunks."""
  times = []
  end = time.monotonic() + secs
  while time.monotonic() < end:
    message = live.recv()
    if isinstance(message, str) and json.loads(message)['type'] == 'chunk':
      times.append((time.monotonic(), json.loads(message)['frames']))
  frames = sum(count for _, count in times[1:])
  return frames / (times[-1][0] - times[0][0])


def test_a_thousand_idle_or_slow_sockets_leave_a_director_at_their_rate(server):
  address, studio = server
  if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2.5 * HOSTILE:
    pytest.skip('this system allows too few open files for both ends')
  name = _ask(address, '/sessions', {'seed': 1})['id']
  with connect(f'ws://{address}/sessions/{name}/live') as live:
    live.send('{"do": "prompt", "prompt": "a dog"}')
    fps = studio.director.cfg.film.fps
    assert _rate(live, 12) == pytest.approx(fps, rel=0.1)
    hostile = _Hostile(address)
    hostile.start()
    try:
      assert _rate(live, 30) == pytest.approx(fps, rel=0.1)
      waits = []
      for number in range(5):
        start = time.monotonic()
        assert _ask(address, '/model')['fps'] == fps
        live.send(json.dumps({'do': 'prompt', 'prompt': f'{number}'}))
        while True:
          message = live.recv()
          if not isinstance(message, bytes):
            if json.loads(message)['type'] == 'answer':
              break
        waits.append(time.monotonic() - start)
      print(f'{hostile.opened} sockets, longest answer {max(waits):.2f} s')
      assert max(waits) < 2 * studio.director.timeline.chunk_secs + 1
    finally:
      hostile.stop()
  assert hostile.opened > HOSTILE  # the server has closed some of them
  _ask(address, f'/sessions/{name}', method='DELETE')


def _watch(address, name, stop, seen, slow):
  """One reads all that comes; a slow one, nothing."""
  with connect(
    f'ws://{address}/sessions/{name}/live', max_queue=4, close_timeout=1
  ) as live:
    live.send('{"do": "prompt", "prompt": "a dog"}')
    while not stop.is_set():
      if slow:
        stop.wait(0.2)
        continue
      try:
        message = live.recv(timeout=1)
      except TimeoutError:
        continue
      if isinstance(message, str) and '"chunk"' in message[:20]:
        seen[name] = seen.get(name, 0) + 1
        if seen[name] % 5 == 0:
          live.send('{"do": "cut"}')


def _scrub(address, name, stop):
  """Looks at one place of the film after another, over one connection."""
  draw, client = random.Random(0), http.client.HTTPConnection(address)
  while not stop.wait(0.1):
    client.request('GET', f'/sessions/{name}')
    state = json.load(client.getresponse())
    if state['chunks']:
      chunk = draw.randrange(state['chunks'])
      for path in (f'stills/{chunk}', f'frames/{chunk}.jpg'):
        client.request('GET', f'/sessions/{name}/{path}')
        answer = client.getresponse()
        assert answer.status == 200 and answer.read()


@pytest.mark.skipif(
  not pathlib.Path('/proc/self/status').exists(),
  reason='memory is read from /proc',
)
def test_memory_stays_flat_and_no_session_is_lost(server):
  address, studio = server
  names = [_ask(address, '/sessions', {'seed': n})['id'] for n in range(3)]
  stop, seen = threading.Event(), {}
  threads = [
    threading.Thread(target=_watch, args=(address, name, stop, seen, slow))
    for name in names
    for slow in (False, True)
  ]
  threads += [
    threading.Thread(target=_scrub, args=(address, name, stop))
    for name in names
  ]
  for thread in threads:
    thread.start()
  try:
    time.sleep(min(20.0, SOAK_SECS / 3))
    before, start = soaking.process_memory(), time.monotonic()
    before_chunks = [
      _ask(address, f'/sessions/{name}')['chunks'] for name in names
    ]
    time.sleep(SOAK_SECS)
    after, secs = soaking.process_memory(), time.monotonic() - start
  finally:
    stop.set()
    for thread in threads:
      thread.join(10)
  chunk_secs = studio.director.timeline.chunk_secs
  made = [
    _ask(address, f'/sessions/{name}')['chunks'] - chunks
    for name, chunks in zip(names, before_chunks, strict=True)
  ]
  for what, then, now in zip(('own', 'all'), before, after, strict=True):
    print(
      f'{what}: {then / 1e6:.1f} MB, {now / 1e6:.1f} MB, {now / then - 1:+.2%}'
    )
  print(f'{secs:.0f} s, {made} chunks of {chunk_secs} s')
  assert abs(after[0] / before[0] - 1) < 0.05
  for name, chunks in zip(names, made, strict=True):
    assert chunks == pytest.approx(secs / chunk_secs, rel=0.1, abs=2)
    assert seen[name] > 0
