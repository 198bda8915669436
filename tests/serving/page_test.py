"""The page in a real browser, directed with the shipped weights."""

import json
import pathlib
import time

import numpy as np
import pytest

from cinejax.film import media
from cinejax.film.timeline import Timeline
from tests.serving.pages import open_page, serve, until

PROMPTS = (
  'Ada walks left in the forest, wide shot',
  'Ben jumps on the beach, medium shot',
  'Ben stands on the beach, medium shot',
)

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


def _picture(page):
  """What is on the canvas, as one number."""
  return page.evaluate(
    "() => document.getElementById('film').toDataURL().length"
  )


def _plays_on(page, before):
  """Waits until the canvas shows something else."""
  end = time.monotonic() + 300
  while _picture(page) == before:
    assert time.monotonic() < end
    page.wait_for_timeout(50)


def _shots(page, count):
  until(
    page, f"document.querySelectorAll('#strip li:not(.next)').length >= {count}"
  )


def test_three_prompts_with_a_cut(page, tmp_path):
  blank = _picture(page)
  page.fill('#prompt', PROMPTS[0])
  page.press('#prompt', 'Enter')
  _shots(page, 1)
  _plays_on(page, blank)
  page.fill('#prompt', PROMPTS[1])
  page.press('#prompt', 'Shift+Enter')
  _shots(page, 2)
  _plays_on(page, _picture(page))
  page.fill('#prompt', PROMPTS[2])
  page.click('#continue')
  _shots(page, 3)
  _plays_on(page, _picture(page))
  until(page, "document.getElementById('fps').textContent.endsWith('fps')")
  until(page, "document.getElementById('latency').textContent.endsWith('ms')")
  # what the memory reads
  until(page, "document.querySelectorAll('#routed img').length > 0")
  page.click('#play')
  until(page, "document.getElementById('play').textContent.includes('Roll')")
  assert [
    card.strip() for card in page.locator('.reuse').all_inner_texts()
  ] == [*PROMPTS]
  until(
    page,
    "[...document.querySelectorAll('#strip img')].every(i => i.naturalWidth)",
  )

  with page.expect_download() as started:
    page.click('#screenplay')
  film = json.loads(pathlib.Path(started.value.path()).read_text())
  segments = film['segments']
  assert [one['prompt'] for one in segments] == [*PROMPTS]
  assert [one['cut'] for one in segments] == [False, True, False]
  with page.expect_download() as started:
    page.click('#mp4')
  started.value.save_as(tmp_path / 'film.mp4')
  frames = media.read_frames(tmp_path / 'film.mp4')
  video = np.stack(list(frames)).astype(np.float32)
  cut = Timeline(3, 4, 8).chunk_start_pixel(segments[0]['chunks'])
  change = np.abs(np.diff(video, axis=0)).mean((1, 2, 3))
  assert np.argmax(change) + 1 == cut


def test_a_screenplay_runs_and_a_shot_is_taken_again(page, tmp_path):
  play = tmp_path / 'play.json'
  segments = [{'prompt': prompt, 'chunks': 1} for prompt in PROMPTS[:2]]
  play.write_text(json.dumps({'title': 'Two', 'seed': 7, 'segments': segments}))
  page.set_input_files('#file', play)
  until(page, "document.title.startsWith('Two')")
  until(
    page, "document.getElementById('slate').textContent.includes('has ended')"
  )
  assert 'seed 7' in page.inner_text('#about')
  page.locator("button:has-text('Retake')").nth(1).click()
  until(page, "document.querySelectorAll('#strip .reuse').length === 1")
  page.fill('#prompt', PROMPTS[2])
  page.press('#prompt', 'Shift+Enter')
  _shots(page, 2)
  assert PROMPTS[2] in page.locator('.reuse').all_inner_texts()[1]
  page.set_input_files(
    '#file', {'name': 'x.json', 'mimeType': 'text/json', 'buffer': b'{'}
  )
  until(
    page, "document.getElementById('error').textContent.includes('not JSON')"
  )


def test_it_can_be_used_by_keyboard_and_ear(page, url):
  page.fill('#prompt', PROMPTS[0])
  page.press('#prompt', 'Enter')
  until(
    page, "document.getElementById('announcer').textContent.includes('Shot 1')"
  )
  nameless = page.evaluate(
    """() => [...document.querySelectorAll(
      'button, input, select, textarea, a, img, canvas')]
      .filter(node => !node.hidden && !(node.labels?.length ||
        node.textContent.trim() || node.getAttribute('aria-label') ||
        node.hasAttribute('alt')))
      .map(node => node.outerHTML)"""
  )
  assert nameless == []
  page.press('#prompt', 'Tab')
  for _ in range(20):
    if page.evaluate('document.activeElement.id') == 'cut':
      break
    page.keyboard.press('Tab')
  assert page.evaluate('document.activeElement.id') == 'cut'
  page.evaluate('document.activeElement.blur()')
  page.keyboard.press('/')
  assert page.evaluate('document.activeElement.id') == 'prompt'
  # a button that has the focus keeps it when the strip is drawn again
  page.focus('#strip .reuse')
  name = page.evaluate('location.hash').removeprefix('#')
  direction = {'do': 'prompt', 'prompt': PROMPTS[1], 'cut': True}
  where = f'{url}/sessions/{name}/directions'
  assert page.request.post(where, data=direction).ok
  _shots(page, 2)
  assert page.evaluate('document.activeElement.dataset.key') == 'reuse 0'
  page.evaluate('document.activeElement.blur()')
  page.keyboard.press(' ')
  until(page, "document.getElementById('play').textContent.includes('Roll')")


@pytest.mark.parametrize('width', [400, 1280])
def test_nothing_sticks_out_and_both_themes_can_be_read(page, width):
  page.set_viewport_size({'width': width, 'height': 900})
  for theme in ('light', 'dark'):
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    wide = page.evaluate('document.documentElement.scrollWidth')
    assert wide <= width
    assert page.evaluate(CONTRAST) >= 4.5


CONTRAST = """() => {
  const channels = name => {
    const probe = document.createElement('i');
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color.match(/[\\d.]+/g);
    probe.remove();
    return found.slice(0, 3).map(v => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
  };
  const light = name => {
    const [r, g, b] = channels(name);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const pairs = [['--ink', '--paper'], ['--dim', '--paper'],
    ['--dim', '--card'], ['--bad', '--card'], ['--accent', '--card'],
    ['--on-accent', '--accent']];
  return Math.min(...pairs.map(([a, b]) =>
    Math.max(light(a), light(b)) / Math.min(light(a), light(b))));
}"""
