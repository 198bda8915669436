"""Parts of the page in a real browser, with answers in place of a server."""

import json
import pathlib

import numpy as np
import pytest

from cinejax.film import media
from cinejax.serving.film.spool import pack_stills
from cinejax.serving.http import app
from tests.serving.pages import open_page

HERE = 'http://127.0.0.1:8000'
STATIC = pathlib.Path(app.__file__).parent / 'static'
PROMPTS = ('Ada stands in the cave, wide shot', 'Ben jumps in the city')
MODEL = {
  'name': 'story',
  'fps': 8,
  'height': 64,
  'width': 64,
  'chunk_secs': 1.5,
  'frames_per_chunk': 3,
  'stride': 4,
  'policy': 'camr',
  'policies': ['camr'],
  'steps': 4,
  'steps_allowed': None,
  'guidance': None,
  'prompt_chars': 5000,
  'vocabulary': [
    ['Ada', 'Ben'],
    ['stands', 'walks left'],
    ['in the cave', 'in the city'],
    [', wide shot'],
    [', panning'],
  ],
}
EMPTY = {
  'type': 'session',
  'id': 'a' * 16,
  'title': '',
  'seed': 7,
  'status': 'waiting',
  'reason': 'a film begins with its first prompt',
  'revision': 5,
  'chunks': 0,
  'secs': 0,
  'settings': {'policy': '', 'steps': None, 'guidance': None},
  'segments': [],
  'planned': [],
  'planned_more': 0,
  'end_chunk': None,
  'rewind_chunks': [0],
  'stored': [],
  'takes': [],
  'undo': '',
  'redo': '',
}
FILM = EMPTY | {
  'status': 'paused',
  'reason': 'nobody is watching',
  'chunks': 6,
  'secs': 9.0,
  'stored': [[0, 0, 6]],
  'segments': [
    {'prompt': prompt, 'shot': n, 'cut': n > 0, 'chunk': 3 * n}
    | {'chunks': 3, 'secs': 4.5 * n}
    for n, prompt in enumerate(PROMPTS)
  ],
}
CHUNK = {
  'type': 'chunk',
  'revision': 5,
  'frame': 57,
  'starts_in_ms': 0,
  'generation_ms': 200,
  'latency_ms': 67,
  'chunk': 5,
  'frames': 12,
  'prompt': PROMPTS[1],
  'shot': 1,
  'cut': False,
  'segment': 1,
  'routed_frames': [[4, 0.9]],
  'window': [9, 15],
  'words': 'It read the last 6 latent frames.',
}

pytestmark = pytest.mark.slow


class Server:
  """Answers like a server; `sent` are the directions that it received."""

  def __init__(self, page, folder):
    self.session, self.events, self.sent = EMPTY, [], []
    self.read, self.demo, self.reads = {}, None, {}
    self.socket, self.image = None, np.full((64, 64, 3), 200, np.uint8)
    media.write_video(folder / 'demo.mp4', [self.image] * 8, 8)
    self.film = (folder / 'demo.mp4').read_bytes()
    page.route(f'{HERE}/**', self._answer)
    page.route_web_socket('ws://127.0.0.1:8000/**', self._connect)

  def _answer(self, route):
    path = route.request.url.removeprefix(HERE).partition('?')[0]
    kinds = {'.css': 'text/css', '.js': 'text/javascript'}
    if path == '/model':
      route.fulfill(json=MODEL)
    elif path == '/prompt':
      line = route.request.post_data_json['prompt']
      answer = {'tokens': 3, 'limit': 8, 'read': len(line)}
      answer |= {'unknown': [], 'notes': []}
      route.fulfill(json=answer | self.read)
    elif path == '/demo.mp4':
      route.fulfill(body=self.film, content_type='video/mp4')
    elif path.endswith('.jpg'):
      body = media.encode_frame(self.image)
      route.fulfill(body=body, content_type='image/jpeg')
    elif '/stills/' in path:
      images = [media.encode_frame(self.image)] * 12
      kind = 'application/octet-stream'
      route.fulfill(body=pack_stills(images), content_type=kind)
    elif path.endswith('/reads'):
      route.fulfill(json=self.reads)
    elif path.startswith('/sessions'):
      route.fulfill(json=self.session)
    else:
      file = STATIC / ('index.html' if path == '/' else path[1:])
      kind = kinds.get(file.suffix, 'text/html')
      route.fulfill(body=file.read_bytes(), content_type=kind)

  def _connect(self, socket):
    self.socket = socket
    socket.on_message(lambda text: self.sent.append(json.loads(text)))
    for event in [self.session, *self.events]:
      socket.send(json.dumps(event))


@pytest.fixture
def page(browser, tmp_path):
  with open_page(browser) as page:
    page.server = Server(page, tmp_path)
    yield page


def _open(page, session=EMPTY, *events):
  page.server.session, page.server.events = session, events
  page.goto(f'{HERE}/#{session["id"]}')
  page.wait_for_selector('#prompt:focus')


def _choices(page):
  return page.locator('#choices button').all_inner_texts()


def test_the_words_that_can_come_next_are_offered(page):
  _open(page)
  assert _choices(page) == ['Ada', 'Ben']
  page.press('#prompt', 'A')
  page.press('#prompt', 'Tab')
  assert page.input_value('#prompt') == 'Ada'
  assert _choices(page) == ['stands', 'walks left']
  page.click('#choices >> text=walks left')
  page.locator('#prompt').press_sequentially(' in the ci')
  page.press('#prompt', 'Tab')
  page.click('#choices >> text=wide shot')
  text = 'Ada walks left in the city, wide shot'
  assert page.input_value('#prompt') == text
  assert _choices(page) == ['panning']
  page.fill('#prompt', 'cut: Adam')
  assert _choices(page) == []
  page.press('#prompt', 'Tab')  # nothing to complete: Tab goes on
  assert page.evaluate('document.activeElement.id') != 'prompt'


def test_what_is_not_known_or_not_read_is_marked_before_it_is_sent(page):
  _open(page)
  page.server.read = {'unknown': [[4, 9]], 'read': 12, 'notes': ['Never seen.']}
  page.fill('#prompt', 'Ada flies in the city')
  page.wait_for_selector('#marks mark')
  marks = page.locator('#marks mark')
  assert marks.all_text_contents() == ['flies', ' the city']
  assert marks.nth(1).get_attribute('class') == 'unread'
  assert page.inner_text('#notes') == 'Never seen.'
  assert page.inner_text('#tokens') == '3 of 8 tokens'
  assert page.server.sent == []
  page.fill('#prompt', '')
  assert page.locator('#marks mark').count() == 0
  assert page.inner_text('#notes') == ''


def test_an_empty_page_plays_a_film_and_one_key_starts_yours(page):
  _open(page)
  page.wait_for_selector('#demo:not([hidden])')
  page.wait_for_function(
    "document.getElementById('slate').textContent.includes('press Enter')"
  )
  page.press('#prompt', 'Enter')
  example = page.get_attribute('#prompt', 'placeholder')
  page.wait_for_timeout(200)
  (sent,) = page.server.sent
  assert sent == {'do': 'prompt', 'prompt': example, 'cut': False}
  page.server.socket.send(json.dumps(FILM | {'status': 'rolling'}))
  page.wait_for_selector('#demo', state='hidden')


def test_a_reload_shows_the_last_frame_and_leaves_the_film_paused(page):
  _open(page, FILM)
  brightness = """() => {
    const canvas = document.getElementById('film');
    return canvas.getContext('2d').getImageData(9, 9, 1, 1).data[0]; }"""
  while page.evaluate(brightness) < 150:
    page.wait_for_timeout(50)
  assert page.is_visible('#again')
  assert page.server.sent == []
  page.click('#again')
  page.wait_for_timeout(200)
  assert page.server.sent == [{'do': 'resume'}]


def test_a_film_that_was_interrupted_rolls_on(page):
  rolling = FILM | {'status': 'rolling', 'reason': ''}
  _open(page, rolling)
  page.server.session = FILM  # paused in the meantime
  page.server.socket.close()
  while not page.server.sent:
    page.wait_for_timeout(50)
  assert page.server.sent == [{'do': 'resume'}]


def test_pointing_at_a_frame_says_how_much_of_it_was_read(page):
  _open(page, FILM, CHUNK)
  page.wait_for_selector('#routed img')
  assert page.inner_text('#words') == CHUNK['words']
  box = page.locator('#track').bounding_box()

  def point(frame):
    x = box['x'] + box['width'] * (frame + 0.5) / 18
    page.mouse.move(x, box['y'] + 5)
    return page.inner_text('#words')

  assert point(4) == (
    f'The frame at 0:01.6 (shot 1, “{PROMPTS[0]}”) was read in 90 % of the '
    'passes and layers.'
  )
  assert point(2).endswith('was not read.')
  assert 'one of the last 6' in point(10)
  assert point(16).endswith('is on screen now.')
  page.mouse.move(0, 0)
  assert page.inner_text('#words') == CHUNK['words']
  page.focus('#routed li')
  assert '90 %' in page.inner_text('#words')


def test_a_long_prompt_stretches_no_card_and_keeps_its_marks(page):
  long = 'many words about nothing ' * 40
  first, second = FILM['segments']
  _open(page, FILM | {'segments': [first | {'prompt': long}, second]})
  for card in page.locator('#strip li').all():
    assert card.bounding_box()['height'] < 350
  page.server.read = {'read': 20}
  page.fill('#prompt', long)
  page.wait_for_selector('#marks .unread')
  page.press('#prompt', 'End')
  page.keyboard.type('!')
  page.wait_for_timeout(600)
  heights, tops = page.evaluate(
    """['scrollHeight', 'scrollTop'].map(name => ['prompt', 'marks'].map(
      id => document.getElementById(id)[name]))"""
  )
  assert abs(heights[0] - heights[1]) <= 2 and tops[0] == tops[1]


def test_after_a_reload_the_lane_shows_the_last_chunk(page):
  keys = ('chunk', 'window', 'routed_frames', 'words')
  page.server.reads = {key: CHUNK[key] for key in keys}
  _open(page, FILM)
  page.wait_for_selector('#routed img')
  assert page.inner_text('#words') == CHUNK['words']
