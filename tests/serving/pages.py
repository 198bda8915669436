"""Servers of the page, and pages of a real browser."""

import contextlib
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def serve(workdir, *flags):
  """The address of a server that is started with these flags."""
  command = [sys.executable, '-m', 'cinejax.serve', '--port=0']
  command += ['--platform=cpu', f'--workdir={workdir}', *flags]
  running = subprocess.Popen(
    command, cwd=ROOT, stdout=subprocess.PIPE, text=True
  )
  while 'directing at' not in (line := running.stdout.readline()):
    assert running.poll() is None
  yield line.split()[-1].rstrip('/')
  running.terminate()
  assert running.wait(10) == 0


@contextlib.contextmanager
def open_page(browser, width=1280, height=900):
  """A page of a desktop, on which no script may fail."""
  page = browser.new_page(viewport={'width': width, 'height': height})
  page.set_default_timeout(300_000)
  errors = []
  page.on('pageerror', lambda error: errors.append(str(error)))
  yield page
  assert not errors
  page.context.close()


def until(page, condition, secs=400):
  """Polls from here: the page lets nobody evaluate strings inside it."""
  end = time.monotonic() + secs
  while not page.evaluate(condition):
    assert time.monotonic() < end, condition
    page.wait_for_timeout(50)
