"""Directions and frames over a WebSocket."""

import json
import time

from cinejax.serving.viewer import HEADER


def _events(socket, wanted, kind='jpeg'):
  """Events until one is `wanted`, and the frames that came meanwhile."""
  events, frames = [], []
  while not (events and wanted(events[-1])):
    message = socket.receive()
    if message.get('text'):
      events.append(json.loads(message['text']))
    elif message.get('bytes'):
      frames.append(message['bytes'])
    else:
      raise AssertionError(message)
  return events, frames


def _is_chunk(n):
  return lambda event: event['type'] == 'chunk' and event['chunk'] == n


def test_three_prompts_with_a_cut_over_a_socket(client, path, director):
  with client.websocket_connect(f'{path}/live?format=webp') as socket:
    socket.send_json({'do': 'prompt', 'prompt': 'a'})
    events, frames = _events(socket, _is_chunk(2))
    assert events[0]['type'] == 'session'
    socket.send_json({'do': 'prompt', 'prompt': 'b', 'cut': True})
    more, late = _events(socket, lambda e: e['type'] == 'chunk' and e['cut'])
    cut = more[-1]
    _events(socket, _is_chunk(cut['chunk'] + 1))
    socket.send_json({'do': 'pause'})
    _events(socket, lambda e: e.get('status') == 'paused')
  numbers = [HEADER.unpack(f[:8]) for f in frames + late]
  assert [n for _, n in numbers] == list(range(len(numbers)))
  assert all(f[8:12] == b'RIFF' for f in frames)
  assert cut['prompt'] == director.cfg.film.cut_prefix + 'b'
  assert cut['frame'] == director.timeline.chunk_start_pixel(cut['chunk'])
  assert cut['latency_ms'] is not None and cut['routed_frames']

  film = client.get(f'{path}/screenplay.json')
  assert 'attachment' in film.headers['content-disposition']
  assert [s['cut'] for s in film.json()['segments']] == [False, True]
  assert film.json()['seed'] == 5 and film.json()['title'] == 'Two'
  assert film.json()['segments'][0]['chunks'] == cut['chunk']
  still = client.get(f'{path}/frames/0.jpg')
  assert still.headers['content-type'] == 'image/jpeg'
  assert still.content[:2] == b'\xff\xd8'


def test_nonsense_on_a_socket_gets_an_error_each(client, path):
  nonsense = ['', '{', '[]', '{"do": "dance"}', 'x' * 20_000, '[' * 5000]
  with client.websocket_connect(f'{path}/live') as socket:
    _events(socket, lambda e: e['type'] == 'session')
    for text in nonsense:
      socket.send_text(text)
      _events(socket, lambda e: e['type'] == 'error')
    socket.send_bytes(b'\x00')
    _events(socket, lambda e: e['type'] == 'error')
    socket.send_json({'do': 'prompt', 'prompt': 'still here'})
    _events(socket, _is_chunk(0))


def test_a_client_who_vanishes_leaves_a_paused_film(client, path):
  with client.websocket_connect(f'{path}/live') as socket:
    socket.send_json({'do': 'prompt', 'prompt': 'a'})
    _events(socket, _is_chunk(0))
  end = time.monotonic() + 590
  while client.get(path).json()['status'] != 'paused':
    assert time.monotonic() < end
  assert client.get(path).json()['reason'] == 'nobody is watching'
  with client.websocket_connect('/sessions/nobody/live') as socket:
    assert 'no such session' in socket.receive_json()['error']


def test_a_viewer_who_reads_nothing_does_not_slow_the_film(client, path):
  with client.websocket_connect(f'{path}/live') as slow:
    with client.websocket_connect(f'{path}/live') as socket:
      socket.send_json({'do': 'prompt', 'prompt': 'a'})
      _events(socket, _is_chunk(30))
    assert slow
