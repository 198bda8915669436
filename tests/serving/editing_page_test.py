"""Watching, takes, undo and the plan, in the page of a real browser."""

import re
import statistics
import subprocess
import sys
import time

import pytest

from tests.serving.page_test import ROOT

FOREST = 'Ada walks left in the forest, wide shot'
BEACH = 'Ben jumps on the beach, medium shot'
SNOW = 'Ben stands in the snow, wide shot'

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def url(tmp_path_factory):
  command = [sys.executable, '-m', 'cinejax.serve', '--config=configs/story.py']
  command += ['--config.rollout.steps=2', '--port=0', '--platform=cpu']
  command += [f'--workdir={tmp_path_factory.mktemp("sessions")}']
  running = subprocess.Popen(
    command, cwd=ROOT, stdout=subprocess.PIPE, text=True
  )
  while 'directing at' not in (line := running.stdout.readline()):
    assert running.poll() is None
  yield line.split()[-1].rstrip('/')
  running.terminate()
  assert running.wait(10) == 0


@pytest.fixture
def page(browser, url):
  page = browser.new_page(viewport={'width': 1280, 'height': 900})
  page.set_default_timeout(120_000)
  page.errors = []
  page.on('pageerror', lambda error: page.errors.append(str(error)))
  page.goto(url)
  page.wait_for_selector('#prompt:focus')
  yield page
  assert not page.errors
  page.context.close()


def _until(what, secs=120):
  end = time.monotonic() + secs
  while not (got := what()):
    assert time.monotonic() < end, 'it did not happen'
    time.sleep(0.01)
  return got


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
  _until(lambda: _state(page, url)['chunks'] >= 3)
  _outside(page)
  page.keyboard.press('Home')
  _until(lambda: _frame(page) == 0)
  assert _state(page, url)['status'] == 'rolling'
  page.keyboard.press('ArrowRight')
  _until(lambda: _frame(page) == 1)
  page.keyboard.press('l')
  _until(lambda: _frame(page) >= 8)
  page.keyboard.press('k')
  time.sleep(0.3)
  stopped = _frame(page)
  time.sleep(0.3)
  assert _frame(page) == stopped
  page.keyboard.press('j')
  _until(lambda: _frame(page) <= stopped - 3)
  page.keyboard.press('o')  # the shot again and again
  _until(lambda: _frame(page) >= stopped)
  page.keyboard.press('o')
  page.keyboard.press('End')
  _until(lambda: page.get_attribute('#live', 'aria-pressed') == 'true')
  live = _frame(page)
  _until(lambda: _frame(page) > live)
  page.click('#play')
  _until(lambda: 'Roll' in page.inner_text('#play'))

  box, waits = page.locator('#line').bounding_box(), []
  for n in range(20):
    left = box['x'] + box['width'] * ((7 * n) % 20 + 0.5) / 20
    start = time.perf_counter()
    page.mouse.click(left, box['y'] + box['height'] / 2)
    place = int(page.get_attribute('#line', 'aria-valuenow'))
    _until(lambda place=place: _frame(page) == place)
    waits.append(time.perf_counter() - start)
  print(f'seek: {1e3 * statistics.median(waits):.0f} ms')
  assert statistics.median(waits) < 0.5
  page.reload()
  last = _until(lambda: _state(page, url)['chunks'])
  _until(lambda: _frame(page) == 12 * last - 4)


def test_takes_are_seen_side_by_side_and_chosen_back(page, url):
  _say(page, FOREST)
  _until(lambda: _state(page, url)['chunks'] >= 1)
  _say(page, BEACH, cut=True)
  _until(lambda: len(_state(page, url)['segments']) == 2)
  page.click('#play')
  _until(lambda: 'Roll' in page.inner_text('#play'))

  def still():  # the chunk in flight has arrived
    state = _state(page, url)
    chunks = sum(one['chunks'] for one in state['segments'])
    return state if state['chunks'] == chunks else None

  before = _until(still)
  page.locator("button:has-text('Retake')").nth(1).click()
  assert page.input_value('#prompt') == BEACH  # to be changed
  _until(lambda: page.locator('#strip li.next').count() == 1)
  _say(page, SNOW, cut=True)
  _until(lambda: len(_state(page, url)['segments']) == 2)
  page.click('#play')
  page.click('#strip .takes')
  cards = page.locator('#takes li')
  _until(lambda: cards.count() == 2)
  _until(
    lambda: page.evaluate(
      "[...document.querySelectorAll('#takes canvas')]"
      '.every(one => Number(one.dataset.frame) > 0)'
    )
  )
  assert [BEACH, SNOW] == page.locator('#takes .prompt').all_inner_texts()
  page.click("#takes button:has-text('Delete')")
  _until(lambda: not _state(page, url)['takes'])
  page.click('#take-back')
  _until(lambda: _state(page, url)['takes'])
  page.click("#takes button:has-text('Choose')")
  _until(lambda: _state(page, url)['segments'] == before['segments'])
  assert _state(page, url)['stored'] == before['stored']
  _until(lambda: _frame(page) == 12 * before['chunks'] - 4)
  _outside(page)
  page.keyboard.press('Control+z')
  _until(lambda: _state(page, url)['segments'][1]['prompt'] == SNOW)
  page.keyboard.press('Control+Shift+z')
  _until(lambda: _state(page, url)['segments'][1]['prompt'] == BEACH)
  # The first shot has takes too.
  page.locator("button:has-text('Retake')").first.click()
  _until(lambda: not _state(page, url)['chunks'])
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
  _until(lambda: rows.count() == 3)
  page.locator('#planned').scroll_into_view_if_needed()
  first, last = (
    page.locator('#planned .handle').nth(n).bounding_box() for n in (0, 2)
  )
  x = first['x'] + first['width'] / 2
  page.mouse.move(x, first['y'] + first['height'] / 2)
  page.mouse.down()
  page.mouse.move(x, last['y'] + last['height'], steps=8)
  page.mouse.up()
  _until(lambda: plan() == [(10, BEACH), (12, SNOW), (14, FOREST)])
  page.locator('#planned .handle').nth(1).focus()
  page.keyboard.press('ArrowUp')
  _until(lambda: plan() == [(10, SNOW), (12, BEACH), (14, FOREST)])
  focused = _until(
    lambda: page.evaluate('document.activeElement.dataset.key || ""')
  )
  assert focused == 'move 0'
  rows.nth(1).locator('button.text').click()
  page.locator('#planned input.text').fill(FOREST)
  page.keyboard.press('Enter')
  _until(lambda: plan()[1] == (12, FOREST))
  length = rows.nth(0).locator('input[type=number]')
  length.fill('5')
  length.press('Enter')
  _until(lambda: plan() == [(10, SNOW), (15, FOREST), (17, FOREST)])
  rows.nth(0).locator('.cut').click()
  _until(lambda: _state(page, url)['planned'][0]['cut'])
  rows.nth(1).locator('.gone').click()
  _until(lambda: plan() == [(10, SNOW), (15, FOREST)])
  page.click('#unplanned button')
  _until(lambda: len(plan()) == 3)
  assert re.search('Undo: plan', page.get_attribute('#undo', 'title'))
