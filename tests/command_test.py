import pathlib
import subprocess
import sys
import types

import pytest

from cinejax import command

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = '--config=configs/tiny.py'
SHOW = 'from cinejax import command as c; c.run(lambda: print(c.config().seed))'


def start(*line, program=('-c', SHOW)):
  return subprocess.Popen(
    [sys.executable, *program, *line],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
  """Exit code, stdout and stderr of command lines that run side by side."""
  workdir = tmp_path_factory.mktemp('run') / 'workdir'
  unknown = (TINY, '--config.train.log_every_step=3', f'--workdir={workdir}')
  running = {
    'right': start(TINY, '--config.seed=37', '--platform=cpu'),
    'shipped': start('--config=story:frame_two', '--config.seed=37'),
    'unknown': start(*unknown, program=('-m', 'cinejax.train')),
    'missing': start('--config=configs/tony.py'),
    'none': start(),
    'spaces': start('--config=my configs/tony.py'),
    'json': start('--config=screenplays/demo.json'),
    'module': start('--config=configs/ablations/__init__.py'),
    'variant': start(f'{TINY}:frame'),
    'value': start(TINY, '--config.seed=many'),
    'flag': start(TINY, '--platfrom=cpu'),
    'word': start(TINY, 'tiny'),
    'platform': start(TINY, '--platform=tpu'),
  }
  done = {}
  for name, process in running.items():
    out, err = process.communicate(timeout=1200)
    done[name] = (process.returncode, out, err)
  assert not workdir.exists()
  return done


def test_overrides_reach_the_settings(answers):
  assert answers['right'] == (0, '37\n', '')


def test_a_config_that_ships_needs_no_path(answers):
  assert answers['shipped'] == (0, '37\n', '')


@pytest.mark.parametrize(
  ('name', 'part'),
  [
    ('unknown', 'did you mean config.train.log_every_steps?'),
    ('missing', '--config=configs/tony.py: there is no such file'),
    ('value', '--config.seed=many'),
    ('none', '--config is missing'),
    ('spaces', '--config=my configs/tony.py: there is no such file'),
    ('json', '--config=screenplays/demo.json is no config'),
    ('module', '/__init__.py is no config: it has no get_config()'),
    ('variant', 'configs/tiny.py has no variants'),
    ('flag', "Unknown command line flag 'platfrom'. Did you mean: platform"),
    ('word', 'tiny is not a flag'),
    ('platform', '--platform=tpu: JAX finds no such device here'),
  ],
)
def test_a_users_mistake_is_one_sentence_and_exit_two(answers, name, part):
  code, _, err = answers[name]
  assert code == 2, err
  assert err.startswith('error: ') and part in err
  assert len(err.strip().splitlines()) == 1


def test_a_closed_reader_of_the_output_is_no_error():
  talk = 'from cinejax import command as c; c.run(lambda: print("a" * 10**6))'
  process = start(TINY, program=('-c', talk))
  process.stdout.close()
  assert process.stderr.read() == ''
  assert process.wait(timeout=600) == 141


def test_a_report_can_say_how_it_was_called(monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['/x/evaluate.py', '--out=a b', '--films=2'])
  spec = types.SimpleNamespace(name='cinejax.evaluate')
  monkeypatch.setattr(sys.modules['__main__'], '__spec__', spec)
  line = "python -m cinejax.evaluate '--out=a b' --films=2"
  assert command.line() == line
  monkeypatch.setattr(sys.modules['__main__'], '__spec__', None)
  assert command.line() == line.replace('-m cinejax.evaluate', '/x/evaluate.py')
