"""Takes the pictures of the page that docs/serving.md shows.

  pip install playwright && python launch/screenshots.py [FOLDER]

It starts a server with the shipped student of four steps, rolls
screenplays/demo.json in Chromium (which has to be installed), and writes
page_desktop.webp and page_phone.webp to FOLDER, by default docs/.
"""

import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERVER = '-m cinejax.serve --config=configs/story.py:four --port=0'.split()
# name: width, height, pixels of the screen for each of the page, theme
SCREENS = {
  'desktop': (1920, 1080, 1, 'dark'),
  'phone': (390, 844, 2, 'light'),
}
TYPED = 'Ada walks left '
SHOWN_CHUNKS = 9  # of the film when its picture is taken
MAX_BYTES = 200_000


def main(folder: pathlib.Path) -> None:
  film = json.loads((ROOT / 'screenplays' / 'demo.json').read_text())
  chromium = shutil.which('chromium') or shutil.which('google-chrome')
  with tempfile.TemporaryDirectory() as workdir, sync_playwright() as api:
    command = [sys.executable, *SERVER, f'--workdir={workdir}']
    server = subprocess.Popen(
      command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
      while 'directing at' not in (line := server.stdout.readline()):
        if server.poll() is not None:
          sys.exit('the server has ended')
      browser = api.chromium.launch(
        executable_path=chromium, args=['--no-sandbox']
      )
      for name, screen in SCREENS.items():
        path = folder / f'page_{name}.webp'
        _take(browser, line.split()[-1], film, screen, path)
        print(f'{path}: {path.stat().st_size / 1e3:.0f} kB')
    finally:
      server.terminate()
      server.wait(30)


def _take(
  browser: Browser,
  url: str,
  film: dict[str, Any],
  screen: tuple[int, int, int, str],
  path: pathlib.Path,
) -> None:
  """Rolls the film on a screen and saves a picture of the page."""
  width, height, scale, theme = screen
  page = browser.new_page(
    viewport={'width': width, 'height': height},
    device_scale_factor=scale,
    color_scheme=theme,
    has_touch=scale > 1,
    is_mobile=scale > 1,
  )
  name = page.request.post(f'{url}sessions', data={'film': film}).json()['id']
  session = f'{url}sessions/{name}'
  page.goto(f'{url}#{name}')
  page.wait_for_selector('#prompt:focus')
  _wait(page, session, SHOWN_CHUNKS)
  page.keyboard.type(TYPED)
  page.wait_for_timeout(1000)  # until the chunk is on screen
  _save(page.screenshot(), path)
  page.request.delete(session)
  page.close()


def _wait(page: Page, session: str, chunks: int) -> None:
  end = time.monotonic() + 600
  while page.request.get(session).json()['chunks'] < chunks:
    if time.monotonic() > end:
      sys.exit('the film does not roll')
    page.wait_for_timeout(100)


def _save(png: bytes, path: pathlib.Path) -> None:
  """Saves a picture as WebP, as well as its size allows."""
  image = Image.open(io.BytesIO(png)).convert('RGB')
  for quality in (90, 80, 70, 60):
    image.save(path, quality=quality, method=6)
    if path.stat().st_size <= MAX_BYTES:
      return


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / 'docs')
