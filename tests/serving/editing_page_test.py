"""Watching, takes, undo and the plan, in the page of a real browser."""

import re
import statistics
import time

import pytest

from tests.serving.pages import open_page, serve
from tests.serving.sessions import until

FOREST = 'Ada walks left in the forest, wide shot'
BEACH = 'Ben jumps on the beach, medium shot'
SNOW = 'Ben stands in the snow, wide shot'

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def url(tmp_path_factory):
  flags = '--config=configs/story.py', '--config.rollout.steps=2'
  with serve(tmp_path_factory.mktemp('sessions'), *flags) as url:
    yield url


@pytest.fixture
def page(browser, url):
  with open_page(browser) as page:
    page.goto(url)
    page.wait_for_selector('#prompt:focus')
    yield page


def _say(page, prompt, cut=False):
  page.fill('#prompt', prompt)
  page.press('#prompt', 'Shift+Enter' if cut else 'Enter')


def _state(page, url):
  name = page.evaluate('location.hash').removeprefix('#')
  return page.request.get(f'{url}/sessions/{name}').json()


def _frame(page):
  """The frame on the canvas; -1: there is none."""
  shown = page.evaluate("document.getElementById('film').dataset.frame")
  return int(shown) if shown else -1


def _outside(page):
  page.press('#prompt', 'Escape')


def test_all_of_a_film_is_watched_while_it_rolls(page, url):
  _say(page, FOREST)
  until(lambda: _state(page, url)['chunks'] >= 3)
  _outside(page)
  page.keyboard.press('Home')
  until(lambda: _frame(page) == 0)
  assert _state(page, url)['status'] == 'rolling'
  page.keyboard.press('ArrowRight')
  until(lambda: _frame(page) == 1)
  page.keyboard.press('l')
  until(lambda: _frame(page) >= 8)
  page.keyboard.press('k')
  time.sleep(0.3)
  stopped = _frame(page)
  time.sleep(0.3)
  assert _frame(page) == stopped
  page.keyboard.press('j')
  until(lambda: _frame(page) <= stopped - 3)
  page.keyboard.press('o')  # the shot again and again
  until(lambda: _frame(page) >= stopped)
  page.keyboard.press('o')
  page.keyboard.press('End')
  until(lambda: page.get_attribute('#live', 'aria-pressed') == 'true')
  live = _frame(page)
  until(lambda: _frame(page) > live)
  page.click('#play')
  until(lambda: 'Roll' in page.inner_text('#play'))

  box, waits = page.locator('#line').bounding_box(), []
  for n in range(20):
    left = box['x'] + box['width'] * ((7 * n) % 20 + 0.5) / 20
    start = time.perf_counter()
    page.mouse.click(left, box['y'] + box['height'] / 2)
    place = int(page.get_attribute('#line', 'aria-valuenow'))
    until(lambda place=place: _frame(page) == place)
    waits.append(time.perf_counter() - start)
  print(f'seek: {1e3 * statistics.median(waits):.0f} ms')
  assert statistics.median(waits) < 0.5
  page.reload()
  last = until(lambda: _state(page, url)['chunks'])
  until(lambda: _frame(page) == 12 * last - 4)


def test_takes_are_seen_side_by_side_and_chosen_back(page, url):
  _say(page, FOREST)
  until(lambda: _state(page, url)['chunks'] >= 1)
  _say(page, BEACH, cut=True)
  until(lambda: len(_state(page, url)['segments']) == 2)
  page.click('#play')
  until(lambda: 'Roll' in page.inner_text('#play'))

  def still():  # the chunk in flight has arrived
    state = _state(page, url)
    chunks = sum(one['chunks'] for one in state['segments'])
    return state if state['chunks'] == chunks else None

  before = until(still)
  page.locator("button:has-text('Retake')").nth(1).click()
  assert page.input_value('#prompt') == BEACH  # to be changed
  until(lambda: page.locator('#strip li.next').count() == 1)
  _say(page, SNOW, cut=True)
  until(lambda: len(_state(page, url)['segments']) == 2)
  page.click('#play')
  page.click('#strip .takes')
  cards = page.locator('#takes li')
  until(lambda: cards.count() == 2)
  until(
    lambda: page.evaluate(
      "[...document.querySelectorAll('#takes canvas')]"
      '.every(one => Number(one.dataset.frame) > 0)'
    )
  )
  assert [BEACH, SNOW] == page.locator('#takes .prompt').all_inner_texts()
  page.click("#takes button:has-text('Delete')")
  until(lambda: not _state(page, url)['takes'])
  page.click('#take-back')
  until(lambda: _state(page, url)['takes'])
  page.click("#takes button:has-text('Choose')")
  until(lambda: _state(page, url)['segments'] == before['segments'])
  assert _state(page, url)['stored'] == before['stored']
  until(lambda: _frame(page) == 12 * before['chunks'] - 4)
  _outside(page)
  page.keyboard.press('Control+z')
  until(lambda: _state(page, url)['segments'][1]['prompt'] == SNOW)
  page.keyboard.press('Control+Shift+z')
  until(lambda: _state(page, url)['segments'][1]['prompt'] == BEACH)
  # The first shot has takes too.
  page.locator("button:has-text('Retake')").first.click()
  until(lambda: not _state(page, url)['chunks'])
  assert page.locator('#strip .takes').count() == 1


def test_a_plan_is_ordered_by_drag_and_keys_and_edited(page, url):
  name = page.evaluate('location.hash').removeprefix('#')
  for n, prompt in enumerate((FOREST, BEACH, SNOW)):
    direction = {'do': 'prompt', 'prompt': prompt, 'at_chunk': 10 + 2 * n}
    path = f'{url}/sessions/{name}/directions'
    assert page.request.post(path, data=direction).ok

  def plan():
    return [
      (one['chunk'], one['prompt']) for one in _state(page, url)['planned']
    ]

  rows = page.locator('#planned li')
  until(lambda: rows.count() == 3)
  page.locator('#planned').scroll_into_view_if_needed()
  first, last = (
    page.locator('#planned .handle').nth(n).bounding_box() for n in (0, 2)
  )
  x = first['x'] + first['width'] / 2
  page.mouse.move(x, first['y'] + first['height'] / 2)
  page.mouse.down()
  page.mouse.move(x, last['y'] + last['height'], steps=8)
  page.mouse.up()
  until(lambda: plan() == [(10, BEACH), (12, SNOW), (14, FOREST)])
  page.locator('#planned .handle').nth(1).focus()
  page.keyboard.press('ArrowUp')
  until(lambda: plan() == [(10, SNOW), (12, BEACH), (14, FOREST)])
  focused = until(
    lambda: page.evaluate('document.activeElement.dataset.key || ""')
  )
  assert focused == 'move 0'
  rows.nth(1).locator('button.text').click()
  page.locator('#planned input.text').fill(FOREST)
  page.keyboard.press('Enter')
  until(lambda: plan()[1] == (12, FOREST))
  length = rows.nth(0).locator('input[type=number]')
  length.fill('5')
  length.press('Enter')
  until(lambda: plan() == [(10, SNOW), (15, FOREST), (17, FOREST)])
  rows.nth(0).locator('.cut').click()
  until(lambda: _state(page, url)['planned'][0]['cut'])
  rows.nth(1).locator('.gone').click()
  until(lambda: plan() == [(10, SNOW), (15, FOREST)])
  page.click('#unplanned button')
  until(lambda: len(plan()) == 3)
  assert re.search('Undo: plan', page.get_attribute('#undo', 'title'))
