"""The Films dialog and dropped files in a real browser, with a tiny model."""

import base64
import io
import json

import pytest
from PIL import Image

from cinejax.benchmarks.http_server import HttpServer
from cinejax.film.journal import Film, Segment
from tests.serving.pages import open_page
from tests.serving.sessions import until

pytestmark = pytest.mark.slow

DROP = """([name, type, data]) => {
  const files = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  files.items.add(new File([bytes], name, {type}));
  document.body.dispatchEvent(new DragEvent('drop',
    {dataTransfer: files, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope='module')
def url(studio):
  with HttpServer(studio) as port:
    yield f'http://127.0.0.1:{port}'


@pytest.fixture
def page(browser, url, studio):
  with open_page(browser) as page:
    page.goto(url)
    page.wait_for_selector('#prompt:focus')
    yield page
  for name in tuple(studio.registry.sessions):
    studio.close(name)


def _name(page):
  return page.evaluate('location.hash').removeprefix('#')


def _drop(page, name, kind, data):
  page.evaluate(DROP, [name, kind, base64.b64encode(data).decode()])


def _film(studio, prompt, chunks=2):
  """The name of a film that has ended."""
  film = Film((Segment(prompt, chunks=chunks),), seed=3)
  name = studio.create(film=film)['id']
  until(lambda: studio.describe(name)['status'] == 'paused')
  return name


def _row(page, text):
  return page.locator(f'#shelved li:has-text("{text}")')


def test_films_are_renamed_deleted_taken_back_and_opened(page, studio):
  first, other = _film(studio, 'a dog'), _film(studio, 'a cat', 3)
  page.click('#films')
  assert _row(page, 'a dog').locator('.dim').inner_text().startswith('paused')
  page.once('dialog', lambda dialog: dialog.accept('The dog of the house'))
  _row(page, 'a dog').locator("button:has-text('Rename')").click()
  until(lambda: _row(page, 'The dog of the house').count())
  assert studio.describe(first)['title'] == 'The dog of the house'

  _row(page, 'a cat').locator("button:has-text('Delete')").click()
  until(lambda: _row(page, 'a cat · deleted').count())
  assert other not in studio.registry.sessions
  _row(page, 'a cat').locator("button:has-text('Undo')").click()
  until(lambda: _row(page, 'a cat').locator('.dim').inner_text() == 'saved')
  _row(page, 'a cat').locator('.title').click()
  until(lambda: _name(page) == other)
  assert not page.locator('#shelf').is_visible()
  until(lambda: page.inner_text('#length').startswith('1 · '))
  assert page.locator('#strip .reuse').all_inner_texts() == ['a cat']
  # The frames are those of before: the last one is on screen.
  last = studio.director.timeline.chunk_start_pixel(3) - 1
  frame = "Number(document.getElementById('film').dataset.frame)"
  until(lambda: page.evaluate(frame) >= last - 3)

  page.click('#films')
  _row(page, 'The dog of the house').locator('.title').click()
  until(lambda: _name(page) == first)
  # The film on screen is deleted too; then the page has an empty one.
  page.click('#films')
  _row(page, 'The dog of the house').locator(
    "button:has-text('Delete')"
  ).click()
  until(lambda: _row(page, 'The dog of the house · deleted').count())
  until(lambda: _name(page) not in (first, other))
  assert first not in studio.registry.sessions


def test_a_film_that_cannot_be_opened_leaves_the_page_as_it_was(page, studio):
  here = _name(page)
  other = _film(studio, 'a dog')
  page.click('#films')
  studio.close(other)  # by somebody else
  _row(page, 'a dog').locator('.title').click()
  until(lambda: 'no such session' in page.inner_text('#error'))
  assert _name(page) == here


def test_dropped_files_are_a_cast_and_a_screenplay(page, studio):
  here, data = _name(page), io.BytesIO()
  Image.new('RGB', (30, 20), 'red').save(data, 'PNG')
  guesses = []  # of the name, by that of the file

  def accept(dialog):
    guesses.append(dialog.default_value)
    dialog.accept(dialog.default_value)

  page.once('dialog', accept)
  _drop(page, 'ada_01.png', 'image/png', data.getvalue())
  until(lambda: studio.describe(here)['cast'] == ['Ada'])
  assert guesses == ['Ada'] and page.inner_text('#faces li span') == 'Ada'

  segments = [{'prompt': 'a dog', 'chunks': 2}, {'prompt': 'a cat'}]
  segments[1] |= {'chunks': 1, 'cut': True}
  film = {'title': 'Dropped', 'seed': 8, 'segments': segments}
  _drop(page, 'film.json', 'application/json', json.dumps(film).encode())
  until(lambda: page.title().startswith('Dropped'))
  name = _name(page)
  assert name != here
  until(lambda: studio.describe(name)['chunks'] == 3)
  until(lambda: page.locator('#strip .reuse').count() == 2)

  for file, kind, sentence in (
    ('notes.txt', 'text/plain', 'notes.txt is not JSON'),
    ('torn.png', 'image/png', 'the film has begun'),
  ):
    _drop(page, file, kind, b'\x89PNG no picture')
    until(lambda sentence=sentence: sentence in page.inner_text('#error'))
  page.click('#new')
  until(lambda: _name(page) != name)
  page.once('dialog', lambda dialog: dialog.accept('Ada'))
  _drop(page, 'torn.png', 'image/png', b'\x89PNG no picture')
  until(lambda: 'torn.png is no picture' in page.inner_text('#error'))
