"""The page in a real browser: its size and names, live controls, comparisons,
and films as files.
"""

import io
import pathlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.serving.composer_test import CHUNK, FILM, HERE, Server
from tests.serving.pages import open_page, serve, until

DESKTOP, PHONE = (1920, 1080), (390, 844)
PROMPTS = (
  'Ada walks left in the forest, wide shot',
  'Ben jumps on the beach, medium shot',
  'Ada stands in the forest, medium shot',
)

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser):
  with open_page(browser, *DESKTOP) as page:
    yield page


@pytest.fixture(scope='module')
def url(tmp_path_factory):
  flags = '--config=story:four', '--weights=weights/story'
  with serve(tmp_path_factory.mktemp('sessions'), *flags) as url:
    yield url


def _fake(page, size, tmp_path, session=FILM, *events):
  page.set_viewport_size({'width': size[0], 'height': size[1]})
  page.server = Server(page, tmp_path)
  page.server.session, page.server.events = session, events
  page.goto(f'{HERE}/#{session["id"]}')
  page.wait_for_selector('#prompt:focus')


def test_the_film_is_the_largest_thing_on_the_page(page, tmp_path):
  _fake(page, DESKTOP, tmp_path, FILM, CHUNK)
  box = page.locator('#film').bounding_box()
  assert box['height'] >= DESKTOP[1] / 2
  assert box['height'] % 64 == box['width'] % 64 == 0  # whole pixels
  rendering = 'getComputedStyle(document.getElementById("film")).imageRendering'
  assert page.evaluate(rendering) == 'pixelated'


def test_a_phone_opens_on_the_film_and_everything_can_be_touched(
  page, tmp_path
):
  _fake(page, PHONE, tmp_path, FILM, CHUNK)
  assert page.evaluate('scrollY') == 0
  box = page.locator('#film').bounding_box()
  assert box['y'] + box['height'] / 2 < PHONE[1]
  assert page.evaluate('document.documentElement.scrollWidth') <= PHONE[0]
  small = page.evaluate(
    """() => [...document.querySelectorAll(
      'button, .button, select, input, summary')]
      .filter(node => node.checkVisibility() && !node.closest('.aloud'))
      .filter(node => node.type !== 'checkbox')
      .map(node => [node.id || node.textContent.trim(),
        node.getBoundingClientRect()])
      .filter(([, box]) => box.height && Math.min(box.width, box.height) < 43.9)
      .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)"""
  )
  assert small == []


@pytest.mark.parametrize('path', ['/', '/compare.html'])
@pytest.mark.parametrize('size', [DESKTOP, PHONE])
def test_axe_finds_nothing_serious(page, tmp_path, path, size):
  axe = pytest.importorskip('axe_playwright_python')
  source = (pathlib.Path(axe.__file__).parent / 'axe.min.js').read_text()
  _fake(page, size, tmp_path, FILM, CHUNK)
  if path != '/':
    page.goto(f'{HERE}{path}')
    page.wait_for_selector('#policies input')
  else:
    page.evaluate("document.querySelector('details').open = true")
    page.wait_for_selector('#routed img')
  for theme in ('light', 'dark'):
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    page.evaluate(source)
    found = page.evaluate('axe.run()')['violations']
    assert [
      (one['id'], [node['html'][:200] for node in one['nodes']])
      for one in found
      if one['impact'] in ('serious', 'critical')
    ] == []


def test_settings_change_while_the_film_rolls_and_are_in_its_screenplay(
  page, url
):
  page.goto(url)
  page.wait_for_selector('#prompt:focus')
  page.fill('#prompt', PROMPTS[0])
  page.press('#prompt', 'Enter')
  page.click('summary')
  until(page, "document.querySelectorAll('#strip li').length === 1")
  texts = page.locator('#steps option').all_inner_texts()
  assert [text[0] for text in texts] == ['1', '2', '4']
  page.select_option('#steps', '1')
  until(page, "document.getElementById('compiling').textContent !== ''")
  until(page, "document.getElementById('compiling').textContent === ''")
  page.fill('#routed-frames', '1')
  page.press('#routed-frames', 'Tab')
  until(page, "document.querySelectorAll('#strip li').length === 3")
  page.fill('#seed', '9')
  page.select_option('#blend', '2')
  page.fill('#prompt', PROMPTS[1])
  page.press('#prompt', 'Enter')
  until(page, "document.querySelectorAll('#strip li').length === 4")
  page.click('#play')
  assert page.input_value('#seed') == ''
  name = page.evaluate('location.hash').removeprefix('#')
  path = f'{url}/sessions/{name}/screenplay.json'
  segments = page.request.get(path).json()['segments']
  settings = ('steps', 'routed_frames', 'seed', 'blend_chunks')
  got = [{k: one[k] for k in settings if k in one} for one in segments]
  assert got == [
    {},
    {'steps': 1},
    {'routed_frames': 1},
    {'seed': 9, 'blend_chunks': 2},
  ]
  with page.expect_download() as started:
    page.click('#png')
  with zipfile.ZipFile(started.value.path()) as archive:
    first = Image.open(io.BytesIO(archive.read(archive.namelist()[0])))
    assert first.size == (64, 64)
  assert page.locator('#exports li').count() == 1
  page.click('#exports button')
  assert page.locator('#exports li').count() == 0


def test_memories_side_by_side(page, url):
  page.goto(f'{url}/compare.html')
  for policy in ('sink', 'window'):
    page.uncheck(f'#policies input[value={policy}]')
  page.check('#policies input[value=window]')
  page.fill('#script', '\n'.join(f'{prompt} * 2' for prompt in PROMPTS))
  page.fill('#seed', '3')
  page.click('text=Roll them in step')
  until(
    page, "document.getElementById('shot').textContent.includes('has ended')"
  )
  assert page.locator('#films canvas').count() == 2
  box = page.locator('#films canvas').first.bounding_box()
  assert box['height'] >= DESKTOP[1] / 2 and box['height'] % 64 == 0
  names = page.evaluate('location.hash').removeprefix('#').split('+')
  films = [page.request.get(f'{url}/sessions/{name}').json() for name in names]
  assert [one['settings']['policy'] for one in films] == ['camr', 'window']
  assert {one['chunks'] for one in films} == {6}
  assert {one['seed'] for one in films} == {3}
  page.wait_for_timeout(4000)  # until the last chunk has been shown
  pictures = page.evaluate(
    """() => [...document.querySelectorAll('#films canvas')].map(canvas =>
      [...canvas.getContext('2d').getImageData(0, 0, 64, 64).data])"""
  )
  assert np.std(pictures[0]) > 5 and pictures[0] != pictures[1]
  words = page.locator('#films .words').all_inner_texts()
  assert 'of the older ones' in words[0] and 'nothing older' in words[1]
  box = page.locator('#films .track').first.bounding_box()
  page.mouse.move(box['x'] + 0.7 * box['width'], box['y'] + 9)
  until(
    page,
    "document.querySelector('#films .words').textContent.includes("
    "'When it was made, the memory read')",
  )
  page.fill('#prompt', PROMPTS[1])
  page.press('#prompt', 'Shift+Enter')
  until(
    page,
    f"document.getElementById('shot').textContent.includes('{PROMPTS[1]}')",
  )
  page.click('#play')
  last = [
    page.request.get(f'{url}/sessions/{name}').json()['segments'][-1]
    for name in names
  ]
  assert [one['chunk'] for one in last] == [6, 6] and last[0]['cut']
  assert last[0]['prompt'] == PROMPTS[1]
