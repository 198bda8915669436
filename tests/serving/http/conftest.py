"""The application of the shared studio, without a port."""

import pytest
from starlette.testclient import TestClient

from cinejax.serving.http.app import make_app
from cinejax.serving.http.guard import LOOPBACK


@pytest.fixture(scope='module')
def client(studio):
  app = make_app(studio, (*LOOPBACK, 'testserver'))
  with TestClient(app, base_url='http://localhost:8000') as client:
    yield client


@pytest.fixture
def path(client):
  """The path of a session that has not begun, deleted in the end."""
  session = client.post('/sessions', json={'seed': 5, 'title': 'Two'}).json()
  yield f'/sessions/{session["id"]}'
  client.delete(f'/sessions/{session["id"]}')
