import functools

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from cinejax.serving.http.guard import LOOPBACK, Guard, RateLimiter


def _client(base='http://localhost:8000', **settings):
  async def answer(request):
    return PlainTextResponse('in')

  async def socket(websocket):
    await websocket.accept()
    await websocket.send_text('in')
    await websocket.close()

  given = {'hosts': LOOPBACK, 'token': '', 'rate': 100.0} | settings
  app = Starlette(
    routes=[
      Route('/', answer),
      Route('/do', answer, methods=['GET', 'POST']),
      WebSocketRoute('/live', socket),
    ],
    middleware=[Middleware(Guard, **given)],
  )
  return TestClient(app, base_url=base)


def _enters(client, **headers):
  headers = {'host': 'localhost:8000'} | headers
  try:
    with client.websocket_connect('/live', headers=headers) as socket:
      return socket.receive_text() == 'in'
  except WebSocketDisconnect:
    return False


@pytest.mark.parametrize('host', ['localhost:1', '127.0.0.1', '[::1]:8000'])
def test_this_machine_by_its_names(host):
  client = _client()
  assert client.get('/do', headers={'host': host}).status_code == 200
  assert _enters(client, host=host)


def test_a_foreign_name_for_this_machine_is_refused():
  client = _client('http://evil.example:8000')
  assert client.get('/do').status_code == 421
  assert not _enters(client, host='evil.example:8000')
  assert _client('http://evil.example', hosts=()).get('/do').status_code == 200


@pytest.mark.parametrize('hosts', [LOOPBACK, ()])
@pytest.mark.parametrize('host', ['[::1', 'localhost:x', '[v1', 'a:99999999'])
def test_a_host_that_is_none_is_refused(host, hosts):
  client = _client(hosts=hosts)
  answer = client.get('/do', headers={'host': host})
  assert answer.status_code == 400 and 'is no host' in answer.json()['error']
  assert not _enters(client, host=host)


def test_a_page_without_a_proper_address_is_refused():
  answer = _client().post('/do', headers={'origin': 'http://[::1'})
  assert answer.status_code == 403


def test_a_malformed_cookie_brings_no_token():
  client = _client(token='secret')
  for cookie in ('cinejax_token="', '\x01=1', 'a b=c;;=;cinejax_token'):
    answer = client.get('/do', headers={'cookie': cookie})
    assert answer.status_code == 401


def test_pages_of_other_sites_are_refused():
  client, evil = _client(), {'origin': 'http://evil.example'}
  assert client.post('/do', headers=evil).status_code == 403
  assert client.get('/do', headers=evil).status_code == 200  # changes nothing
  assert not _enters(client, origin='http://evil.example')
  assert not _enters(client, origin='null')
  assert not _enters(client, origin='http://localhost:9000')
  assert _enters(client, origin='http://localhost:8000')
  assert _enters(client)  # no browser


def test_a_token_is_asked_for_everywhere():
  client = _client(token='s3cret')
  assert client.get('/do').status_code == 401
  assert client.get('/').status_code == 401
  assert client.get('/do?token=s3cret').status_code == 401  # not in addresses
  assert client.get('/?token=wrong').status_code == 401
  assert not _enters(client)
  bearer = {'authorization': 'Bearer s3cret'}
  assert client.get('/do', headers=bearer).status_code == 200
  assert _enters(client, **bearer)
  page = client.get('/?token=s3cret', follow_redirects=False)
  assert page.status_code == 303 and page.headers['location'] == '/'
  cookie = page.headers['set-cookie'].lower()
  assert 'httponly' in cookie and 'samesite=strict' in cookie
  assert client.get('/do').status_code == 200  # with the cookie
  cookie = page.headers['set-cookie'].split(';')[0]
  assert _enters(client, cookie=cookie)


def test_a_client_that_is_too_fast_is_refused(monkeypatch):
  still = functools.partial(RateLimiter, now=lambda: 0.0)
  monkeypatch.setattr('cinejax.serving.http.guard.RateLimiter', still)
  client = _client(rate=1.0)
  answers = [client.post('/do').status_code for _ in range(12)]
  assert answers[:10] == [200] * 10 and answers[-1] == 429
  assert client.get('/do').status_code == 200


def test_a_bucket_fills_again():
  now = [0.0]
  limiter = RateLimiter(2.0, lambda: now[0])
  assert sum(limiter.allow() for _ in range(100)) == 20
  now[0] += 1.5
  assert sum(limiter.allow() for _ in range(100)) == 3
  now[0] += 1e6
  assert sum(limiter.allow() for _ in range(100)) == 20
