"""Requests to the application, and the page that it serves."""

import asyncio
import re
import threading
import time

import pytest

from cinejax.film import media
from cinejax.serving.http.app import make_app
from cinejax.serving.http.routes import ENDPOINTS


def test_a_program_runs_a_screenplay_and_fetches_the_film(client, tmp_path):
  segments = [{'prompt': p, 'chunks': 2} for p in 'ab']
  film = {'title': 'Two', 'seed': 3, 'segments': segments}
  session = client.post('/sessions', json={'film': film}).json()
  path = f'/sessions/{session["id"]}'
  while client.get(path).json()['status'] == 'rolling':
    time.sleep(0.01)
  assert client.get(path).json()['reason'] == 'the screenplay has ended'
  assert client.get(f'{path}/screenplay.json').json()['seed'] == 3
  video = tmp_path / 'film.mp4'
  video.write_bytes(client.get(f'{path}/film.mp4').content)
  assert media.probe(video).frames == 45
  fork = client.post(f'{path}/fork', json={'chunk': 2}).json()
  assert fork['chunks'] == 2
  assert client.post(f'{path}/save').json() == {'ok': True, 'state': True}
  assert client.patch(path, json={'title': 'New'}).json() == {'ok': True}
  assert client.get(path).json()['title'] == 'New'
  forked = f'/sessions/{fork["id"]}'
  for undo in (True, False):
    assert client.delete(forked).json() == {'ok': True}
    assert client.get(forked).status_code == 404
    if undo:
      assert client.post(f'{forked}/undelete').json() == {'ok': True}
      films = client.get('/sessions').json()
      assert fork['id'] in [film['id'] for film in films['saved']]
  assert client.delete(path).status_code == 200


def test_memories_are_compared_and_exported(client):
  body = {
    'policies': ['camr', 'uniform'],
    'film': {'segments': [{'prompt': p, 'chunks': 2} for p in 'ab']},
  }
  films = client.post('/comparisons', json=body).json()['sessions']
  paths = [f'/sessions/{one["id"]}' for one in films]
  assert len({one['seed'] for one in films}) == 1
  for path in paths:
    while client.get(path).json()['status'] == 'rolling':
      time.sleep(0.01)
  camr, other = (client.get(f'{path}/chunks/3/reads').json() for path in paths)
  assert camr['window'] == other['window'] == [3, 9]
  assert camr['routed_frames'] and other['routed_frames']
  assert 'of the older ones, shot 1 at' in camr['words']
  client.post(f'{paths[0]}/directions', json={'do': 'rewind', 'chunk': 3})
  assert client.get(f'{paths[0]}/chunks/3/reads').status_code == 404
  say = {'do': 'prompt', 'prompt': 'a'}
  where = f'/comparisons/{films[1]["id"]}/directions'
  assert client.post(where, json=say).json()['chunk'] == 4
  export = client.post(f'{paths[1]}/exports', json={'format': 'png'}).json()
  where = f'/exports/{export["id"]}'
  while client.get(where).json()['status'] in ('queued', 'running'):
    time.sleep(0.01)
  file = client.get(f'{where}/file')
  assert file.content[:2] == b'PK'
  assert 'uniform.zip' in file.headers['content-disposition']
  assert export['id'] in [
    e['id'] for e in client.get('/exports').json()['exports']
  ]
  assert client.delete(where).json() == {'ok': True}
  assert client.get(f'{where}/file').status_code == 404
  for path in paths:
    client.delete(path)
  for nonsense in ({'policies': [['x'], 3]}, {'policies': 'ab'}, {}):
    assert client.post('/comparisons', json=nonsense).status_code == 400


@pytest.mark.parametrize(
  ('method', 'where', 'body', 'status', 'sentence'),
  [
    ('GET', '/sessions/nobody', None, 404, 'no such session'),
    ('GET', '/sessions/..%2f..%2fetc', None, 404, 'nothing here'),
    ('PATCH', '/sessions/nobody', b'{"title": "x"}', 404, 'no such film'),
    ('PATCH', '/sessions/nobody', b'{}', 400, 'lacks its new title'),
    ('DELETE', '/sessions/nobody', None, 404, 'no such film'),
    ('POST', '/sessions/nobody/undelete', None, 404, 'no such deleted film'),
    ('GET', '/nothing', None, 404, 'nothing here'),
    ('PUT', '/sessions', None, 405, 'nothing here'),
    ('POST', '/sessions', b'{', 400, 'not JSON'),
    ('POST', '/sessions', b'[' * 100_000, 400, 'not JSON'),
    ('POST', '/sessions', b'[]', 400, 'must be an object'),
    ('POST', '/sessions', b'{"seed": -1}', 400, 'seed is -1'),
    ('POST', '/sessions', b'{"seed": "1"}', 400, 'wrong type'),
    ('POST', '/sessions', b'{"restore": "../x"}', 400, 'no such saved'),
    ('POST', '/sessions', b'{"film": {}}', 400, 'segments is missing'),
    ('POST', '/sessions', b' ' * 9_000_000, 400, 'longer than'),
    ('POST', '/prompt', b' ' * 300_000, 400, 'longer than'),
    ('POST', '/sessions', b'{"film": {"segments": [{"prompt": "a", "chunks":'
     b' 41}]}}', 400, '40 chunks at most'),
    ('POST', '/sessions', b'{"film": {"segments": [{"prompt": "a", "chunks":'
     b' 1000000000}]}}', 400, 'chunks is 1000000000'),
    ('POST', '/sessions', b'{"film": {"segments": [{"prompt": "a", "secs":'
     b' 9e3}]}}', 400, 'has 360000 chunks'),
    ('POST', '/sessions', b'{"film": {"segments": [{"prompt": "a", "chunks":'
     b' 1, "policy": "x"}]}}', 400,
     'segments[0].policy: config.memory.policy is x'),
  ],
)  # fmt: skip
def test_whatever_is_wrong_is_one_sentence(
  client, studio, method, where, body, status, sentence
):
  before = studio.list_sessions()['live']
  answer = client.request(method, where, content=body)
  assert answer.status_code == status
  assert sentence in answer.json()['error']
  assert studio.list_sessions()['live'] == before


@pytest.mark.parametrize('after', [b'', b'{"seed"'])
def test_who_hangs_up_in_a_request_leaves_no_error(studio, after, caplog):
  """At any byte of a body, and without a traceback."""
  sent, parts = [], [{'type': 'http.disconnect'}]
  if after:
    part = {'type': 'http.request', 'body': after, 'more_body': True}
    parts.insert(0, part)

  async def receive():
    return parts.pop(0)

  async def send(message):
    sent.append(message)

  scope = {'type': 'http', 'method': 'POST', 'path': '/sessions'}
  scope |= {'headers': [(b'host', b'localhost')], 'query_string': b''}
  asyncio.run(make_app(studio)(scope, receive, send))
  assert sent[0]['status'] == 400 and not caplog.records


def test_too_many_sessions_and_too_big_numbers(client, studio):
  made = [client.post('/sessions').json()['id'] for _ in range(3)]
  refused = client.post('/sessions')
  assert refused.status_code == 503 and 'are taken' in refused.json()['error']
  for name in made:
    client.delete(f'/sessions/{name}')


def test_the_page_and_what_it_needs_come_from_here(client):
  policy = client.get('/').headers['content-security-policy']
  assert "default-src 'self'" in policy
  needs = re.compile(r"""(?:(?:src|href)=|from |import )["'](/[^"']*)["']""")
  found, waiting = set(), ['/']
  while waiting:
    found.add(path := waiting.pop())
    answer = client.get(path)
    assert answer.status_code == 200, path
    hosts = set(re.findall(r'https?://([^/"]+)', answer.text))
    assert hosts <= {'www.w3.org'}  # a name of SVG, not a place
    waiting += set(needs.findall(answer.text)).difference(found, waiting)
  assert {'/main.js', '/player.js', '/timeline.js', '/theme.js'} <= found
  assert client.get('/model').json()['fps'] == 480


def test_everything_that_is_served_is_described(client):
  described = client.get('/openapi.json').json()
  assert described['openapi'] == '3.1.0'
  for endpoint in ENDPOINTS:
    path = re.sub(r'{(\w+):\w+}', r'{\1}', endpoint.path)
    operation = described['paths'][path][endpoint.method.lower()]
    names = [one['name'] for one in operation.get('parameters', ())]
    assert names == re.findall(r'{(\w+)', path)
  assert '/sessions/{name}/live' in described['paths']


def test_many_threads_ask_at_once(client, path, studio):
  errors = []

  def ask():
    for n in range(8):
      answer = client.post(
        f'{path}/directions', json={'do': 'prompt', 'prompt': f'p{n}'}
      )
      if answer.status_code not in (200, 400, 429):
        errors.append(answer.text)

  threads = [threading.Thread(target=ask) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not errors


def test_a_prompt_is_read_before_it_is_sent(client):
  answer = client.post('/prompt', json={'prompt': 'cut: a fox * 2'}).json()
  found = [answer[name] for name in ('prompt', 'cut', 'chunks', 'tokens')]
  assert found == ['a fox', True, 2, 4]  # with the cut prefix
  assert len(answer['notes']) == 2
  for nonsense in ({'prompt': 'x' * 5001}, {'prompt': 3}, {'text': 'a'}):
    assert client.post('/prompt', json=nonsense).status_code == 400
  model = client.get('/model').json()
  assert (model['prompt_tokens'], model['vocabulary']) == (8, None)


def test_an_empty_page_gets_the_film_of_the_server(client, studio):
  assert client.get('/demo.mp4').status_code == 404
  studio.registry.demo_path.write_bytes(b'film')
  answer = client.get('/demo.mp4')
  studio.registry.demo_path.unlink()
  assert answer.content == b'film'
  assert answer.headers['content-type'] == 'video/mp4'
