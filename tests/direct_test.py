import itertools
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cinejax import direct, live
from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.core.lock import lock_folder
from cinejax.directing.loading import load_director
from cinejax.film import media, screenplay
from cinejax.film.timeline import Timeline
from configs import tiny
from tests.networks import save_networks

ROOT = Path(__file__).resolve().parents[1]
KEYS = (
  'sca nsd shots frames fps pixel_fps first_chunk_secs seed policy steps '
  'weights place size action recall false_cuts'
)


@pytest.fixture(scope='module')
def cfg():
  config = tiny.get_config()
  config.film.height = config.film.width = 16
  return resolve(config)


@pytest.fixture(scope='module')
def weights(cfg, tmp_path_factory):
  path = tmp_path_factory.mktemp('weights')
  save_networks(cfg, path)
  return path


@pytest.fixture
def command(cfg, weights, tmp_path, monkeypatch, give_flags):
  """Runs direct's main with these flags; its folder is tmp_path/out."""
  segments = [{'prompt': 'Ada jumps in the cave, wide shot', 'chunks': 1}]
  segments += [{'prompt': 'a dog', 'chunks': 2}]
  play = tmp_path / 'play.json'
  play.write_text(json.dumps({'title': 'Two', 'segments': segments}))

  def run(**changes):
    given = {
      'weights': str(weights),
      'screenplay': str(play),
      'out': str(tmp_path / 'out'),
      'seed': 5,
    }
    give_flags(direct, **(given | changes))
    monkeypatch.setattr(direct.command, 'config', lambda: cfg)
    direct.main()

  return run


def test_a_film_a_sheet_and_a_report(command, cfg, weights, tmp_path, capsys):
  command()
  out = tmp_path / 'out'
  names = sorted(path.name for path in out.iterdir())
  assert names == ['contact_sheet.png', 'film.mp4', 'report.json']
  info = media.probe(out / 'film.mp4')
  assert (info.height, info.width, info.frames) == (256, 256, 33)
  assert info.fps == cfg.film.fps
  report = json.loads((out / 'report.json').read_text())
  assert set(KEYS.split()) <= set(report)
  assert (report['shots'], report['frames'], report['seed']) == (2, 33, 5)
  assert report['steps'] == 2 and report['weights'] == str(weights)
  assert 'xla on cpu' in report['attention']
  assert report['pixel_fps'] > 0 and report['first_chunk_secs'] > 0
  assert report['place'] is None and report['recall'] is None  # not 64x64
  assert '33 frames in 2 shots' in capsys.readouterr().out


def test_several_films_have_folders(command, tmp_path, monkeypatch):
  def roll(director, prompts, seeds, given):
    assert (len(list(prompts)), seeds) == (1, [5])
    yield np.zeros((1, 9, 16, 16, 3), np.uint8)

  monkeypatch.setattr(direct.Director, 'roll', roll)
  line = json.dumps({'segments': [{'prompt': 'a dog', 'chunks': 1}]})
  play = tmp_path / 'two.jsonl'
  play.write_text(f'{line}\n{line}\n')
  command(screenplay=str(play))
  for name in ('00', '01'):
    report = json.loads((tmp_path / 'out' / name / 'report.json').read_text())
    assert report['frames'] == 9
    assert report['pixel_fps'] is None  # one chunk has no speed


def test_ctrl_c_leaves_nothing_half_written(
  command, tmp_path, monkeypatch, capsys
):
  def roll(*_):
    yield np.zeros((1, 9, 16, 16, 3), np.uint8)
    raise KeyboardInterrupt

  monkeypatch.setattr(direct.Director, 'roll', roll)
  with pytest.raises(SystemExit) as stop:
    command()
  assert stop.value.code == 130
  assert list((tmp_path / 'out').iterdir()) == []
  error = capsys.readouterr().err
  assert error.startswith('stopped; ') and len(error.splitlines()) == 1


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
  command, tmp_path, pipe
):
  pipe(b'Ada runs\n\ncut: a dog * 2\nAda stands\n')
  command(screenplay=None, live=True, out=str(tmp_path / 'live'))
  command(
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
  command, tmp_path, pipe, lines, sentence
):
  pipe(lines)
  with pytest.raises(UserError, match=sentence):
    command(screenplay=None, live=True)
  assert not list(tmp_path.glob('out/*'))


@pytest.mark.parametrize(
  ('slip', 'sentence'),
  [(b'cut:', 'says nothing'), (b'J\xf6rg runs', 'is not utf-8 text')],
)
def test_what_a_pipe_directed_before_its_slip_is_kept(
  command, tmp_path, monkeypatch, pipe, slip, sentence
):
  def roll(director, prompts, seeds, given):
    for _ in prompts:
      yield np.zeros((1, 9, 16, 16, 3), np.uint8)

  monkeypatch.setattr(direct.Director, 'roll', roll)
  pipe(b'Ada runs * 2\n' + slip + b'\nBen stands\n')
  with pytest.raises(UserError, match=f'{sentence}.*has the film up to there'):
    command(screenplay=None, live=True)
  out = tmp_path / 'out'
  assert media.probe(out / 'film.mp4').frames == 18
  assert json.loads((out / 'report.json').read_text())['frames'] == 18
  (film,) = screenplay.load(out / 'screenplay.json')
  assert [(one.prompt, one.chunks) for one in film.segments] == [
    ('Ada runs', 2)
  ]


@pytest.fixture(scope='module')
def director(cfg, weights):
  return load_director(cfg, str(weights))


@pytest.fixture
def live_command(command, director, monkeypatch, tmp_path):
  """Directs live in a folder, with networks that are compiled once."""
  monkeypatch.setattr(direct, 'load_director', lambda *_, **__: director)

  def run(folder, **flags):
    out = tmp_path / folder
    command(**({'screenplay': None, 'live': True, 'out': str(out)} | flags))
    return out

  return run


LINES = b'Ada runs\ncut: a dog * 3\nAda stands\n'


@pytest.fixture
def whole(live_command, pipe):
  """A film that nothing ended."""
  pipe(LINES)
  return live_command('whole')


@pytest.mark.parametrize('end', ['SIGINT', 'SIGTERM', 'kill'])
def test_a_live_film_goes_on_after_it_was_ended(
  live_command, whole, pipe, monkeypatch, capsys, end
):
  generate, calls = live.LiveRoll._generate, itertools.count()

  def ended(roll):
    if next(calls) == 2:
      if end == 'kill':
        raise RuntimeError('killed')
      os.kill(os.getpid(), getattr(signal, end))
    return generate(roll)

  pipe(LINES)
  with monkeypatch.context() as patch:
    patch.setattr(live.LiveRoll, '_generate', ended)
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
      assert 'stopped; --resume goes on' in capsys.readouterr().err
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
def test_a_live_film_goes_on_after_kill_9(weights, tmp_path):
  def start(folder, *flags):
    line = [sys.executable, '-m', 'cinejax.direct', '--config=configs/tiny.py']
    line += [f'--weights={weights}', f'--out={tmp_path / folder}', '--live']
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


def test_standard_input_may_be_closed(command, monkeypatch):
  monkeypatch.setattr('sys.stdin', None)
  with pytest.raises(UserError, match='standard input, which is closed'):
    command(screenplay=None, live=True)


def test_a_film_is_directed_live_or_from_a_screenplay(command):
  with pytest.raises(UserError, match='either --screenplay'):
    command(live=True)


@pytest.mark.parametrize(
  ('flag', 'value', 'sentence'),
  [
    ('screenplay', 'nowhere.json', 'nowhere.json'),
    ('weights', 'nowhere', '--weights=nowhere: there is no'),
    ('out', str(Path(__file__)), 'direct_test.py is a file'),
  ],
)
def test_mistakes_are_found_before_anything_is_written(
  command, tmp_path, flag, value, sentence
):
  with pytest.raises(UserError, match=sentence):
    command(**{flag: value})
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('asked', 'sentence'),
  [
    ({'policy': 'nowhere'}, 'policy: config.memory.policy is nowhere'),
    ({'steps': 1000}, 'steps: config.rollout.steps is 1000'),
  ],
)
def test_a_film_cannot_ask_what_the_model_cannot_do(
  command, tmp_path, asked, sentence
):
  play = tmp_path / 'asks.json'
  segment = {'prompt': 'a dog', 'chunks': 1}
  segments = [segment, {'cut': False} | segment, segment | asked]
  play.write_text(json.dumps({'segments': segments}))
  where = re.escape(f'{play}: shot 1, segments[2].')
  with pytest.raises(UserError, match=where + sentence):
    command(screenplay=str(play))
  assert not (tmp_path / 'out').exists()


def test_the_command_line(weights, tmp_path):
  """That flags, config and errors meet, from the shell."""
  line = [sys.executable, '-m', 'cinejax.direct', '--config=configs/tiny.py']
  line += [f'--weights={weights}', f'--out={tmp_path / "out"}']
  line += ['--screenplay=nowhere.json', '--config.memory.policy=window']
  done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 2
  assert done.stderr.startswith('error: nowhere.json')
  assert len(done.stderr.strip().splitlines()) == 1
  assert not (tmp_path / 'out').exists()


def test_the_cut_prefix_is_read_by_the_model_and_not_shown(cfg, monkeypatch):
  seen = []

  def roll(prompts, seeds, given):
    seen.extend(p.prompt for (p,) in prompts)
    yield np.zeros((1, 9, 16, 16, 3), np.uint8)
    yield np.zeros((1, 12, 16, 16, 3), np.uint8)

  director = types.SimpleNamespace(
    cfg=cfg, timeline=Timeline(3, 4, 8), roll=roll
  )
  segments = tuple(screenplay.Segment(p, chunks=1) for p in ('a', 'b'))
  monkeypatch.setattr(media, 'save_image', lambda *_: None)
  monkeypatch.setattr(
    media, 'write_video', lambda _, frames, *a, **k: [*frames]
  )
  report = direct.direct(director, screenplay.Film(segments), Path('.'), 0)
  assert seen == ['a', 'Cut to: b']
  assert report['frames'] == 21 and report['shots'] == 2


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['image', 'video'])
def test_a_film_begins_with_what_is_given(command, cfg, tmp_path, kind):
  rng = np.random.default_rng(0)
  video_TYXC = rng.integers(0, 255, (23, 16, 16, 3), np.uint8)
  path = tmp_path / ('a.png' if kind == 'image' else 'a.mp4')
  if kind == 'image':
    media.save_image(path, Image.fromarray(video_TYXC[0]))
  else:
    media.write_video(path, video_TYXC, cfg.film.fps)
  command(**{kind: str(path)})
  report = json.loads((tmp_path / 'out' / 'report.json').read_text())
  # 3 chunks of the screenplay, and 2 of the clip
  assert report['frames'] == (33 if kind == 'image' else 57)
  assert report['shots'] == 2 and report['opening'] == str(path)


def test_openings_that_clash_are_refused(command):
  with pytest.raises(UserError, match='either --image=FILE or --video=FILE'):
    command(image='a.png', video='a.mp4')
