"""A film directed by lines of standard input, and continued after it ended."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cinejax import direct
from cinejax.core.errors import UserError
from cinejax.core.lock import lock_folder
from cinejax.directing.loading import load_director
from cinejax.film import journal_file, media, screenplay
from cinejax.serving import live_roll

ROOT = Path(__file__).resolve().parents[2]
LINES = b'Ada runs\ncut: a dog * 3\nAda stands\n'


@pytest.fixture
def pipe(tmp_path, monkeypatch):
  """Makes standard input hold these bytes."""

  def hold(lines):
    path = tmp_path / 'lines'
    path.write_bytes(lines)
    opened.append(path.open(encoding='utf-8', errors='surrogateescape'))
    monkeypatch.setattr('sys.stdin', opened[-1])

  opened = []
  yield hold
  for one in opened:
    one.close()


def test_what_a_pipe_directs_its_screenplay_makes_again(
  run_direct, tmp_path, pipe
):
  pipe(b'Ada runs\n\ncut: a dog * 2\nAda stands\n')
  run_direct(screenplay=None, live=True, out=str(tmp_path / 'live'))
  run_direct(
    screenplay=str(tmp_path / 'live' / 'screenplay.json'),
    out=str(tmp_path / 'again'),
  )
  film, again = (tmp_path / name / 'film.mp4' for name in ('live', 'again'))
  assert media.probe(film).frames == 45  # four chunks
  assert film.read_bytes() == again.read_bytes()
  report = json.loads((tmp_path / 'live' / 'report.json').read_text())
  assert report['shots'] == 2


@pytest.mark.parametrize(
  ('lines', 'sentence'),
  [(b'', 'holds no prompt'), (b'cut:\nAda\n', 'says nothing to be seen')],
)
def test_a_pipe_without_sense_makes_no_film(
  run_direct, tmp_path, pipe, lines, sentence
):
  pipe(lines)
  with pytest.raises(UserError, match=sentence):
    run_direct(screenplay=None, live=True)
  assert not list(tmp_path.glob('out/*'))


@pytest.mark.parametrize(
  ('slip', 'sentence'),
  [(b'cut:', 'says nothing'), (b'J\xf6rg runs', 'is not utf-8 text')],
)
def test_what_a_pipe_directed_before_its_slip_is_kept(
  live_command, tmp_path, pipe, slip, sentence
):
  pipe(b'Ada runs * 2\n' + slip + b'\nBen stands\n')
  with pytest.raises(UserError, match=f'{sentence}.*has the film up to there'):
    live_command('out')
  out = tmp_path / 'out'
  assert media.probe(out / 'film.mp4').frames == 21
  assert json.loads((out / 'report.json').read_text())['frames'] == 21
  (film,) = screenplay.load(out / 'screenplay.json')
  assert [(one.prompt, one.chunks) for one in film.segments] == [
    ('Ada runs', 2)
  ]


@pytest.fixture(scope='module')
def director(small_cfg, small_weights):
  return load_director(small_cfg, str(small_weights))


@pytest.fixture
def live_command(run_direct, director, monkeypatch, tmp_path):
  """Directs live in a folder, with networks that are compiled once."""
  monkeypatch.setattr(direct, 'load_director', lambda *_, **__: director)

  def run(folder, **flags):
    out = tmp_path / folder
    run_direct(**({'screenplay': None, 'live': True, 'out': str(out)} | flags))
    return out

  return run


@pytest.fixture
def whole(live_command, pipe):
  """A film that nothing ended."""
  pipe(LINES)
  return live_command('whole')


@pytest.mark.parametrize('end', ['SIGINT', 'SIGTERM', 'kill'])
def test_a_live_film_continues_after_it_was_ended(
  live_command, whole, pipe, monkeypatch, capsys, end
):
  generate, calls = live_roll.LiveRoll._generate, itertools.count()

  def ended(roll):
    if next(calls) == 2:
      if end == 'kill':
        raise RuntimeError('killed')
      os.kill(os.getpid(), getattr(signal, end))
    return generate(roll)

  pipe(LINES)
  with monkeypatch.context() as patch:
    patch.setattr(live_roll.LiveRoll, '_generate', ended)
    if end == 'kill':
      with pytest.raises(RuntimeError):
        live_command('ended')
      out = whole.parent / 'ended'
      (out / '.partial-x.mp4').touch()  # which a killed process leaves
      assert not (out / 'film.mp4').exists()
    else:
      with pytest.raises(SystemExit) as stop:
        live_command('ended')
      assert stop.value.code == 128 + getattr(signal, end)
      out = whole.parent / 'ended'
      assert media.probe(out / 'film.mp4').frames == 33  # its chunk, too
      assert 'stopped; --resume continues' in capsys.readouterr().err
  (film,) = screenplay.load(out / 'screenplay.json')
  assert [one.prompt for one in film.segments] == ['Ada runs', 'a dog']
  pipe(b'')
  live_command('ended', resume=True, seed=None)
  for name in ('film.mp4', 'screenplay.json', 'contact_sheet.png'):
    assert (out / name).read_bytes() == (whole / name).read_bytes(), name
  assert not list(out.glob('.partial-*'))
  pipe(b'Ben jumps\n')  # and it may become longer than it would have been
  live_command('ended', resume=True)
  assert media.probe(out / 'film.mp4').frames == 69


def test_chunks_that_a_loss_of_power_took_are_generated_again(
  live_command, whole, pipe, monkeypatch
):
  """Also if that is interrupted."""
  journal = (whole / 'film.journal').read_bytes()
  start = journal_file.read(whole / 'film.journal')
  starts = [one['start'] for one in start.records if 'chunk' in one]
  with (whole / 'film.chunks').open('r+b') as file:
    file.truncate(starts[2])
  (whole / 'film.safetensors').unlink()
  video = (whole / 'film.mp4').read_bytes()
  generate, calls = live_roll.LiveRoll._generate, itertools.count()

  def ended(roll):
    if next(calls) == 3:  # two that are there, and one of the lost ones
      raise RuntimeError('killed')
    return generate(roll)

  with monkeypatch.context() as patch:
    patch.setattr(live_roll.LiveRoll, '_generate', ended)
    pipe(b'')
    with pytest.raises(RuntimeError):
      live_command('whole', resume=True, seed=None)
  assert (whole / 'film.journal').read_bytes().startswith(journal)
  pipe(b'')
  live_command('whole', resume=True, seed=None)
  assert (whole / 'film.mp4').read_bytes() == video


def test_a_live_film_is_neither_overwritten_nor_mistaken(
  live_command, whole, pipe
):
  pipe(LINES)
  for flags, sentence in (
    ({}, 'has a film; add --resume'),
    ({'resume': True, 'out': str(whole.parent / 'no')}, 'no film of --live'),
    ({'resume': True, 'seed': 6}, '--seed=6, but the film to resume has 5'),
    ({'resume': True, 'live': False, 'screenplay': 'x'}, 'give --live too'),
  ):
    with pytest.raises(UserError, match=sentence):
      live_command('whole', **flags)
  locked = lock_folder(whole, '--out')
  with pytest.raises(UserError, match='in use by another process'):
    live_command('whole', resume=True)
  os.close(locked)


@pytest.mark.slow
def test_a_live_film_continues_after_kill_9(small_weights, tmp_path):
  def start(folder, *flags):
    line = [sys.executable, '-m', 'cinejax.direct', '--config=configs/tiny.py']
    line += [
      f'--weights={small_weights}',
      f'--out={tmp_path / folder}',
      '--live',
    ]
    line += ['--config.film.height=16', '--config.film.width=16', *flags]
    return subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE)

  lines = b''.join(b'cut: Ada runs %d * 3\n' % n for n in range(40))
  films = []
  for folder in ('whole', 'ended'):
    running = start(folder)
    running.stdin.write(lines)
    running.stdin.close()
    journal = tmp_path / folder / 'film.journal'
    while folder == 'ended':
      if journal.exists() and journal.read_bytes().count(b'"crc"') >= 5:
        running.kill()
        break
    assert running.wait() == (-9 if folder == 'ended' else 0)
  assert not (tmp_path / 'ended' / 'film.mp4').exists()
  running = start('ended', '--resume')
  running.stdin.close()
  assert running.wait() == 0
  films = [tmp_path / one / 'film.mp4' for one in ('whole', 'ended')]
  assert films[0].read_bytes() == films[1].read_bytes()


def test_standard_input_may_be_closed(run_direct, monkeypatch):
  monkeypatch.setattr('sys.stdin', None)
  with pytest.raises(UserError, match='standard input, which is closed'):
    run_direct(screenplay=None, live=True)
