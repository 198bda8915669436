import json
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cinejax import direct
from cinejax.core.errors import UserError
from cinejax.film import media, screenplay
from cinejax.film.timeline import Timeline

ROOT = Path(__file__).resolve().parents[1]
KEYS = (
  'sca nsd shots frames fps pixel_fps first_chunk_secs seed policy steps '
  'weights place size action recall false_cuts'
)


@pytest.fixture
def command(run_direct, tmp_path):
  """`run_direct` of a screenplay of two shots."""
  segments = [{'prompt': 'Ada jumps in the cave, wide shot', 'chunks': 1}]
  segments += [{'prompt': 'a dog', 'chunks': 2}]
  play = tmp_path / 'play.json'
  play.write_text(json.dumps({'title': 'Two', 'segments': segments}))
  return lambda **changes: run_direct(**({'screenplay': str(play)} | changes))


def test_a_film_a_sheet_and_a_report(
  command, small_cfg, small_weights, tmp_path, capsys
):
  command()
  out = tmp_path / 'out'
  names = sorted(path.name for path in out.iterdir())
  assert names == ['contact_sheet.png', 'film.mp4', 'report.json']
  info = media.probe(out / 'film.mp4')
  assert (info.height, info.width, info.frames) == (256, 256, 33)
  assert info.fps == small_cfg.film.fps
  report = json.loads((out / 'report.json').read_text())
  assert set(KEYS.split()) <= set(report)
  assert (report['shots'], report['frames'], report['seed']) == (2, 33, 5)
  assert report['steps'] == 2 and report['weights'] == str(small_weights)
  assert 'xla on cpu' in report['attention']
  assert report['pixel_fps'] > 0 and report['first_chunk_secs'] > 0
  assert report['place'] is None and report['recall'] is None  # not 64x64
  words = [one['words'] for one in report['memory']]
  assert words[0] == 'The film begins, so there is no past to read.'
  assert words[1].startswith('It read the last 3 latent frames')
  assert '33 frames in 2 shots' in capsys.readouterr().out


def test_several_films_have_folders(command, tmp_path, monkeypatch):
  def roll(director, prompts, seeds, given, observe, cast):
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


def test_the_command_line(small_weights, tmp_path):
  """That flags, config and errors meet, from the shell."""
  line = [sys.executable, '-m', 'cinejax.direct', '--config=configs/tiny.py']
  line += [f'--weights={small_weights}', f'--out={tmp_path / "out"}']
  line += ['--screenplay=nowhere.json', '--config.memory.policy=window']
  done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 2
  assert done.stderr.startswith('error: nowhere.json')
  assert len(done.stderr.strip().splitlines()) == 1
  assert not (tmp_path / 'out').exists()


def test_the_cut_prefix_is_read_by_the_model_and_not_shown(
  small_cfg, monkeypatch
):
  seen = []

  def roll(prompts, seeds, given, observe, cast):
    seen.extend(p.prompt for (p,) in prompts)
    yield np.zeros((1, 9, 16, 16, 3), np.uint8)
    yield np.zeros((1, 12, 16, 16, 3), np.uint8)

  director = types.SimpleNamespace(
    cfg=small_cfg, timeline=Timeline(3, 4, 8), roll=roll
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
def test_a_film_begins_with_what_is_given(command, small_cfg, tmp_path, kind):
  rng = np.random.default_rng(0)
  video_TYXC = rng.integers(0, 255, (23, 16, 16, 3), np.uint8)
  path = tmp_path / ('a.png' if kind == 'image' else 'a.mp4')
  if kind == 'image':
    media.save_image(path, Image.fromarray(video_TYXC[0]))
  else:
    media.write_video(path, video_TYXC, small_cfg.film.fps)
  command(**{kind: str(path)})
  report = json.loads((tmp_path / 'out' / 'report.json').read_text())
  # 3 chunks of the screenplay, and 2 of the clip
  assert report['frames'] == (33 if kind == 'image' else 57)
  assert report['shots'] == 2 and report['opening'] == str(path)


def test_a_film_reads_the_picture_of_its_cast(command, tmp_path):
  media.save_image(tmp_path / 'ada.png', Image.new('RGB', (16, 16), 'red'))
  command(cast=[f'Ada={tmp_path / "ada.png"}'])
  report = json.loads((tmp_path / 'out' / 'report.json').read_text())
  words = report['memory'][0]['words']
  assert re.fullmatch(
    r'The film begins, and it read the picture of Ada \(\d+ %\)\.', words
  )
  with pytest.raises(UserError, match='the cast has 2 pictures of 3 frames'):
    command(cast=[f'Ada={tmp_path / "ada.png"}'] * 2)


def test_a_missing_picture_of_the_last_film_ends_before_the_first(
  command, tmp_path
):
  plays = tmp_path / 'plays'
  plays.mkdir()
  film = {'segments': [{'prompt': 'a', 'chunks': 1}]}
  (plays / 'a.json').write_text(json.dumps(film))
  (plays / 'b.json').write_text(
    json.dumps(film | {'cast': {'Ada': 'gone.png'}})
  )
  with pytest.raises(UserError, match=r'gone\.png'):
    command(screenplay=str(plays))
  assert not (tmp_path / 'out').exists()


def test_openings_that_clash_are_refused(command):
  with pytest.raises(UserError, match='either --image=FILE or --video=FILE'):
    command(image='a.png', video='a.mp4')


@pytest.mark.parametrize(
  ('flags', 'sentence'),
  [
    ({'compare': 'camr'}, '--compare=camr names 1 different policies'),
    ({'compare': 'camr,near'}, "no memory policy 'near'"),
    (
      {'compare': 'camr,sink', 'live': True, 'screenplay': None},
      'leave out --live',
    ),
  ],
)
def test_comparisons_that_cannot_be_are_refused(
  command, tmp_path, flags, sentence
):
  with pytest.raises(UserError, match=sentence):
    command(**flags)
  assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_policies_side_by_side(command, tmp_path, capsys):
  command(compare='camr,window')
  out = tmp_path / 'out'
  info = media.probe(out / 'film.mp4')
  assert info.frames == 33 and info.width > 2 * 256
  report = json.loads((out / 'report.json').read_text())
  assert report['policy'] == ['camr', 'window'] and report['seed'] == 5
  assert [*report['policies']] == ['camr', 'window']
  words = report['policies']['window']['memory'][2]['words']
  assert words == 'It read the last 6 latent frames and nothing older.'
  assert Image.open(out / 'contact_sheet.png').width > 256
  assert f'{out}: window: sca' in capsys.readouterr().out
