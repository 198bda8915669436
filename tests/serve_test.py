import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from cinejax import serve
from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.core.lock import lock_folder
from cinejax.film import media
from cinejax.interop.tensors import save_tree
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from configs import tiny
from tests.networks import numpy_params

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'serving.md'
TINY = (
  '--config=configs/tiny.py --config.film.height=16 --config.film.width=16 '
  '--config.dit.layers=1 --config.rollout.guidance=1.0 --platform=cpu'
).split()


def _line(*flags):
  return [sys.executable, '-m', 'cinejax.serve', *TINY, *flags]


@pytest.mark.parametrize(
  ('given', 'sentence'),
  [
    ({'host': '0.0.0.0'}, 'lets other machines in; give --token'),
    ({'weights': 'nowhere'}, '--weights=nowhere: there is no'),
    ({'host': 'no.such.host.invalid', 'token': 'x'}, 'no.such.host.invalid'),
    ({'workdir': __file__}, 'serve_test.py is a file'),
  ],
)
def test_mistakes_are_one_sentence(
  given, sentence, tmp_path, monkeypatch, give_flags
):
  give_flags(serve, **({'port': 0, 'workdir': str(tmp_path)} | given))
  cfg = resolve(tiny.get_config())
  monkeypatch.setattr(serve.command, 'config', lambda: cfg)
  with pytest.raises(UserError, match=re.escape(sentence)):
    serve.main()


def _weights(path):
  config = tiny.get_config()
  config.dit.layers = 1
  cfg = resolve(config)

  def save(name, init_fn):
    save_tree(path / f'{name}.safetensors', numpy_params(init_fn), {})

  save('base', lambda key: denoiser.init_params(cfg.dit, key))
  save('codec', make_codec(cfg.codec).init)


def _start(path):
  line = _line(f'--workdir={path}', f'--weights={path}', '--port=0')
  running = subprocess.Popen(
    line, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ
  )
  while 'directing at' not in (line := running.stdout.readline()):
    assert running.poll() is None
  return running, line.split()[-1].rstrip('/')


def _ask(url, body=None):
  data = None if body is None else json.dumps(body).encode()
  with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
    return json.load(answer)


@pytest.mark.slow
def test_the_client_of_the_documentation_directs_a_film(tmp_path, monkeypatch):
  (client,) = re.findall('```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
  _weights(tmp_path)
  running, url = _start(tmp_path)
  monkeypatch.chdir(tmp_path)
  try:
    here = client.replace('127.0.0.1:8000', url.removeprefix('http://'))
    names = {}
    exec(here, names)
    film = names['film']
    assert film.state['status'] == 'paused'  # after its `with` block
    segments = film.screenplay()['segments']
    image = next(film.direct('resume').frames()).image
  finally:
    running.terminate()
    assert running.wait(10) == 0
  shown = [one['prompt'].split()[0] for one in segments]
  assert shown == ['Ada', 'Ben'] and segments[1]['cut']
  info = media.probe(tmp_path / 'film.mp4')
  assert info.frames >= 6 * info.fps and image[:2] == b'\xff\xd8'


def test_a_second_server_is_refused(tmp_path, monkeypatch, give_flags):
  give_flags(serve, port=0, workdir=str(tmp_path))
  cfg = resolve(tiny.get_config())
  monkeypatch.setattr(serve.command, 'config', lambda: cfg)
  locked = lock_folder(tmp_path, '--workdir')
  with pytest.raises(UserError, match='in use by another process'):
    serve.main()
  os.close(locked)


@pytest.mark.slow
@pytest.mark.parametrize('end', [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_is_ended_continues_when_it_restarts(tmp_path, end):
  _weights(tmp_path)
  running, url = _start(tmp_path)
  try:
    name = _ask(f'{url}/sessions', {'seed': 5})['id']
    path = f'/sessions/{name}'
    _ask(f'{url}{path}/directions', {'do': 'prompt', 'prompt': 'a'})
    while _ask(url + path)['chunks'] < 2:
      time.sleep(0.05)
    running.send_signal(end)
    start = time.monotonic()
    assert running.wait(10) == (0 if end == signal.SIGTERM else -9)
    assert time.monotonic() - start < 5
    with pytest.raises(urllib.error.URLError):
      _ask(url + path)

    running, url = _start(tmp_path)
    state = _ask(url + path)
    assert state['chunks'] >= 2 and state['status'] == 'paused'
    assert state['seed'] == 5 and state['segments'][0]['prompt'] == 'a'
    _ask(f'{url}{path}/directions', {'do': 'resume'})
    while _ask(url + path)['chunks'] < state['chunks'] + 1:
      time.sleep(0.05)
  finally:
    running.kill()
    running.wait()
