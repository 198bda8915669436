"""Checks who may use the server, how much and how fast.

host     the host name of a request is one of the server's, so that no other
         name can be pointed at this machine (DNS rebinding)
origin   requests from pages of other sites are refused: browsers name the site
         in every WebSocket and in every request that changes something
token    required if other machines can reach the server; sent as
         `Authorization: Bearer …`, or as the cookie that /?token=… sets
size     a body is read up to a limit
rate     requests that change something, per client and second (RateLimiter)
"""

import collections
import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 262_144  # of a body
MAX_FILM_BYTES = 8 * 2**20  # of one that may hold pictures
COOKIE = 'cinejax_token'
LOOPBACK = ('localhost', '127.0.0.1', '::1')  # names of this machine
_SAFE = ('GET', 'HEAD', 'OPTIONS')
_MAX_CLIENTS = 1024  # whose rates are stored

_HEADERS = (
  (
    b'content-security-policy',
    b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  ),
  (b'x-content-type-options', b'nosniff'),
  (b'referrer-policy', b'no-referrer'),
)


class RateLimiter:
  """Allows `rate` requests a second, in bursts of ten times as many."""

  def __init__(self, rate: float, now: Callable[[], float] = time.monotonic):
    self._rate, self._now = rate, now
    self._left, self._then = 10 * rate, now()

  def allow(self) -> bool:
    """Whether another request is allowed now; counts it if it is."""
    now = self._now()
    filled = self._left + (now - self._then) * self._rate
    self._left, self._then = min(10 * self._rate, filled), now
    if self._left < 1:
      return False
    self._left -= 1
    return True


class Guard:
  """ASGI middleware that refuses requests with an error of one sentence."""

  def __init__(
    self,
    app: ASGIApp,
    hosts: Sequence[str],
    token: str,
    rate: float,
  ):
    """Wraps `app`.

    Args:
      app: receives the requests that pass.
      hosts: the names under which the server is known; (): any.
      token: that clients have to send; '': none.
      rate: requests of one client in a second.
    """
    self._app, self._hosts, self._token = app, tuple(hosts), token
    self._rate = rate
    self._limiters: collections.OrderedDict[str, RateLimiter] = (
      collections.OrderedDict()
    )

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] == 'lifespan':
      await self._app(scope, receive, send)
      return
    refusal = self._refusal(scope)
    if refusal is not None:
      await _refuse(scope, receive, send, *refusal)
    elif self._brings_token(scope):
      answer = RedirectResponse('/', 303)
      answer.set_cookie(
        COOKIE, self._token, httponly=True, samesite='strict', path='/'
      )
      await answer(scope, receive, send)
    else:
      await self._app(scope, receive, _with_headers(scope, send))

  def _refusal(self, scope: Scope) -> tuple[int, str] | None:
    headers = Headers(scope=scope)
    host = headers.get('host', '')
    named = _address(f'//{host}')
    if named is None:
      return 400, f'{host} is no host'
    if self._hosts and named.hostname not in self._hosts:
      return 421, f'this server is not known as {host}'
    origin = headers.get('origin')
    changes = scope['type'] == 'websocket' or scope['method'] not in _SAFE
    page = _address(origin or '')
    if origin and changes and (page is None or page.netloc != host):
      return 403, f'pages of {origin} may not direct films here'
    if self._token and not self._has_token(scope, headers):
      return 401, 'this server needs its token; open /?token=…'
    if changes and not self._limiter(scope).allow():
      return 429, 'too many requests; slow down'
    return None

  def _has_token(self, scope: Scope, headers: Headers) -> bool:
    given = [headers.get('authorization', '').removeprefix('Bearer ')]
    with contextlib.suppress(CookieError):
      cookie = SimpleCookie(headers.get('cookie', '')).get(COOKIE)
      given += [cookie.value] if cookie else []
    if scope['path'] == '/':
      given += _query_tokens(scope)
    return any(_same(one, self._token) for one in given)

  def _brings_token(self, scope: Scope) -> bool:
    """Whether the page is opened with a token, which becomes a cookie."""
    wanted = self._token and scope['type'] == 'http' and scope['path'] == '/'
    return bool(wanted and _query_tokens(scope))

  def _limiter(self, scope: Scope) -> RateLimiter:
    client = HTTPConnection(scope).client
    name = client.host if client else ''
    limiter = self._limiters.pop(name, None) or RateLimiter(self._rate)
    self._limiters[name] = limiter  # the latest client is last
    while len(self._limiters) > _MAX_CLIENTS:
      self._limiters.popitem(last=False)
    return limiter


def _address(text: str) -> SplitResult | None:
  """The parts of an address; None: it is malformed."""
  try:
    parts = urlsplit(text)
    _ = parts.port  # also checks it
  except ValueError:
    return None
  return parts


def _same(given: str, token: str) -> bool:
  return secrets.compare_digest(given.encode(), token.encode())


def _query_tokens(scope: Scope) -> list[str]:
  return parse_qs(scope['query_string'].decode('latin-1')).get('token', [])


def _with_headers(scope: Scope, send: Send) -> Send:
  async def send_more(message: Message) -> None:
    if message['type'] == 'http.response.start':
      message = message | {'headers': [*message['headers'], *_HEADERS]}
    await send(message)

  return send_more if scope['type'] == 'http' else send


async def _refuse(
  scope: Scope, receive: Receive, send: Send, status: int, sentence: str
) -> None:
  if scope['type'] == 'websocket':
    # Closing before accepting the connection answers with HTTP 403.
    await receive()
    await send({'type': 'websocket.close', 'code': 4000 + status})
    return
  answer = JSONResponse({'error': sentence}, status)
  await answer(scope, receive, send)
