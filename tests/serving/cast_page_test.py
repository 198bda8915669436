"""The shelf of faces in a real browser, with answers in place of a server."""

import base64
import io
import json

import pytest
from PIL import Image

from tests.serving.composer_test import CHUNK, EMPTY, FILM, HERE, Server
from tests.serving.pages import open_page

pytestmark = pytest.mark.slow


class CastServer(Server):
  """Keeps the pictures that it receives."""

  def __init__(self, page, folder):
    self.pictures = {}
    super().__init__(page, folder)
    self.session = EMPTY | {'cast': []}

  def _answer(self, route):
    request = route.request
    if '/cast' not in request.url or request.url.endswith('.js'):
      super()._answer(route)
    elif request.method == 'GET':
      route.fulfill(json={'cast': self.pictures})
    else:
      if request.method == 'POST':
        body = request.post_data_json
        self.pictures[body['name']] = body['picture']
      else:
        del self.pictures[request.url.rpartition('/')[2]]
      self.session = self.session | {'cast': list(self.pictures)}
      route.fulfill(json=self.session)


@pytest.fixture
def page(browser):
  with open_page(browser) as page:
    yield page


def test_a_face_is_named_shown_and_says_how_much_of_it_was_read(page, tmp_path):
  names = iter(('Ada', 'Ben'))
  page.on('dialog', lambda dialog: dialog.accept(next(names)))
  server = CastServer(page, tmp_path)
  page.goto(HERE)
  page.wait_for_selector('#prompt:focus')
  Image.new('RGB', (300, 200), 'red').save(tmp_path / 'some-face.png')
  for count in (1, 2):
    page.set_input_files('#picture', tmp_path / 'some-face.png')
    page.wait_for_function(
      f"document.querySelectorAll('#faces li').length === {count}"
    )
  head, _, data = server.pictures['Ada'].partition(',')
  assert head == 'data:image/png;base64'
  image = Image.open(io.BytesIO(base64.b64decode(data)))
  assert image.size == (64, 64)  # of the film
  assert image.convert('RGB').getpixel((1, 1)) == (255, 0, 0)
  page.click('button[aria-label="Remove Ben"]')
  page.wait_for_function("document.querySelectorAll('#faces li').length === 1")
  assert page.inner_text('#faces li span') == 'Ada'

  server.session = FILM | {'cast': ['Ada']}
  for event in (server.session, CHUNK | {'pictures': [[0, 0.5]]}):
    server.socket.send(json.dumps(event))
  page.wait_for_selector('#faces li[title^="Read in 50 %"]')
  assert page.is_disabled('#add')
  assert not page.query_selector_all('#faces button')
  assert not page.inner_text('#error')
