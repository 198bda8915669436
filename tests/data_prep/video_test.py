"""Real clips, good and bad, become films."""

import dataclasses
import functools
import json
import pickle
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from absl import flags

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilms
from cinejax.film.media import write_video
from configs import tiny
from data_prep import captions, video
from data_prep.clips import Preparation, part_name
from data_prep.encode import encode_where_it_runs

FPS = 8
COLOURS = ((230, 30, 30), (20, 200, 40), (40, 60, 240))


def encode(videos, pixel_frames):
  """A stand-in for a codec of stride 4: the mean of RGB, and the time."""
  latents = []
  for film in videos:
    assert len(film) <= pixel_frames
    small = film[::4, ::8, ::8].astype(np.float16)
    padding = np.zeros((*small.shape[:3], 13), np.float16)
    latents.append(np.concatenate([small, padding], -1))
  return latents


def clip(path, lengths=(30, 26), height=64, width=96):
  """Flat shots of one colour each."""
  frames = [
    np.full((length, height, width, 3), colour, np.uint8)
    for length, colour in zip(lengths, COLOURS, strict=False)
  ]
  write_video(path, np.concatenate(frames), FPS)


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
  clips = tmp_path_factory.mktemp('originals')
  (clips / 'more').mkdir()
  clip(clips / 'good.mp4')
  clip(clips / 'more' / 'good.mp4', (30, 9, 30))
  (clips / 'empty.mp4').write_bytes(b'')
  (clips / 'text.mp4').write_text('not a video')
  clip(clips / 'long.mp4', (40, 30, 40))
  whole = (clips / 'long.mp4').read_bytes()
  (clips / 'truncated.mp4').write_bytes(whole[: int(len(whole) * 0.6)])
  clip(clips / 'short.mp4', (5,))
  clip(clips / 'small.mp4', height=16, width=16)
  (clips / 'notes.txt').write_text('no clip')
  return clips


@pytest.fixture
def folder(originals, tmp_path):
  return shutil.copytree(originals, tmp_path / 'clips')


@pytest.fixture
def task(tmp_path):
  config = tiny.get_config()
  config.data.chunks = 4
  return Preparation(resolve(config), encode, tmp_path / 'out')


def test_bad_clips_are_skipped_and_good_ones_written(folder, task):
  found = video.find_clips(folder)
  entries = {entry['file']: entry for entry in video.run(task, found)}
  written = {f for f, e in entries.items() if e['status'] == 'written'}
  assert written == {'good.mp4', 'long.mp4', 'more/good.mp4'}
  reasons = {f: e['reason'] for f, e in entries.items() if f not in written}
  assert reasons.keys() == {
    'empty.mp4',
    'text.mp4',
    'truncated.mp4',
    'short.mp4',
    'small.mp4',
  }
  assert 'fills a chunk' in reasons['short.mp4']
  assert '16x16' in reasons['small.mp4']
  assert all(name in reason for name, reason in reasons.items())
  video.report(task.out, found)
  report = json.loads((task.out / 'report.json').read_text())
  assert {entry['file']: entry for entry in report['clips']} == entries
  assert entries['good.mp4']['cuts'] == [30]
  assert entries['more/good.mp4']['dropped_shots'] == [1]


def test_records_are_the_shots(folder, task):
  task = dataclasses.replace(task, captions={('good.mp4', 0): 'Red.'})
  video.run(task, video.find_clips(folder / 'good.mp4'))
  (film,) = LatentFilms(task.out)
  # Of 30 and 26 frames the film keeps 21 and 24.
  assert film.latents.shape == (12, 8, 8, 16)
  assert film.prompts == ('Red.', 'Red.', 'Cut to: shot 1', 'shot 1')
  np.testing.assert_array_equal(film.cuts, [False, False, True, False])
  np.testing.assert_array_equal(film.shots, [0, 0, 1, 1])
  for chunk, colour in enumerate(np.repeat(COLOURS, 2, 0)[:4]):
    seen = film.latents[3 * chunk : 3 * chunk + 3, ..., :3]
    np.testing.assert_allclose(
      seen, np.broadcast_to(colour, seen.shape), atol=8
    )


def test_a_rerun_keeps_what_is_done(folder, task, monkeypatch):
  found = video.find_clips(folder)
  video.run(task, found)
  before = len(LatentFilms(task.out))
  clip(folder / 'empty.mp4')
  seen = []
  prepare = Preparation.prepare
  monkeypatch.setattr(
    Preparation,
    'prepare',
    lambda task, clip, name: seen.append(name) or prepare(task, clip, name),
  )
  entries = {entry['file']: entry for entry in video.run(task, found)}
  assert not {'good.mp4', 'long.mp4'} & set(seen)
  assert entries['good.mp4']['status'] == 'kept'
  assert entries['good.mp4']['cuts'] == [30]  # as detected the first time
  assert entries['empty.mp4']['status'] == 'written'
  assert len(LatentFilms(task.out)) == before + entries['empty.mp4']['films']


def test_workers_share_the_clips(folder, task):
  """Film numbers differ between workers, and the report has all clips."""
  found = video.find_clips(folder)
  names = list(found)
  video.run(task, {name: found[name] for name in names[0::2]})
  assert len(video.report(task.out, found)) == len(names[0::2])
  before = len(LatentFilms(task.out))
  video.run(task, {name: found[name] for name in names[1::2]})
  entries = video.report(task.out, found)
  assert [entry['file'] for entry in entries] == names
  numbers = [film.film for film in LatentFilms(task.out)]
  assert len(set(numbers)) == len(numbers) > max(before, 3)


def test_a_task_goes_to_another_process_without_its_codec(task):
  encode = functools.partial(encode_where_it_runs, task.cfg.codec, 'nowhere')
  sent = pickle.dumps(dataclasses.replace(task, encode=encode))
  assert len(sent) < 10_000
  with pytest.raises(UserError, match='no weights file nowhere'):
    pickle.loads(sent).encode([], 1)


def test_beam_prepares_the_same_clips(folder, task):
  pytest.importorskip('apache_beam', reason='needs the beam extra')
  found = video.find_clips(folder)
  video.run_beam(task, found)
  entries = video.report(task.out, found)
  assert [entry['file'] for entry in entries] == list(found)
  assert len(LatentFilms(task.out)) > 3


@pytest.mark.parametrize(
  'otherwise', ['sys.exit(3)', 'sys.stdout.buffer.write(b"blau\\xfc")']
)
def test_a_command_captions_what_has_no_caption(
  folder, task, tmp_path, otherwise
):
  script = tmp_path / 'say.py'
  script.write_text(
    'import sys\n'
    'from PIL import Image\n'
    'r, g, b = Image.open(sys.argv[1]).getpixel((40, 40))\n'
    'if r > g: print("something\\n  red")\n'
    f'else: {otherwise}\n'
  )
  task = dataclasses.replace(
    task,
    captions={('more/good.mp4', 2): 'Blue at last'},
    caption_command=(sys.executable, str(script)),
  )
  entry = task.prepare(folder / 'more' / 'good.mp4', 'more/good.mp4')
  found = {shot['shot']: shot['caption'] for shot in entry['shots']}
  assert found == {0: 'something red', 2: 'Blue at last'}
  assert not entry['problems']
  entry = task.prepare(folder / 'good.mp4', 'good.mp4')
  found = {shot['shot']: shot['caption'] for shot in entry['shots']}
  assert found == {0: 'something red', 1: 'shot 1'}
  assert 'shot 1: no caption' in entry['problems'][0]


def test_rows_to_keep(folder, task):
  entry = dataclasses.replace(task, rows=(0, 40)).prepare(
    folder / 'good.mp4', 'good.mp4'
  )
  assert entry['crop'] == [0, 40, 28, 68]
  with pytest.raises(UserError, match='has 64 rows, fewer than --crop=90'):
    dataclasses.replace(task, rows=(0, 90)).prepare(
      folder / 'long.mp4', 'long.mp4'
    )


def test_flags_are_checked(task):
  assert video.parse_rows('auto') is None
  assert video.parse_rows('58:420') == (58, 420)
  with pytest.raises(UserError, match='auto or top:bottom'):
    video.parse_rows('420:58')
  args = SimpleNamespace(fps=None, height=32, width=None)
  sized = video.with_size(task.cfg, args).film
  assert (sized.fps, sized.height, sized.width) == (8, 32, 64)
  args.height = 72  # whole latents, and half a token
  with pytest.raises(UserError, match=r'height is 72 .* a multiple of 16'):
    video.with_size(task.cfg, args)
  for fps in (0.0, -1.0, float('nan')):
    args = SimpleNamespace(fps=fps, height=None, width=None)
    with pytest.raises(
      UserError, match=r'fps is .*; it must be (more than 0|finite)'
    ):
      video.with_size(task.cfg, args)
  assert captions.parse_command("say 'a b'") == ('say', 'a b')
  with pytest.raises(UserError, match="--caption_command='x is not a command"):
    captions.parse_command("'x")


def test_flags_have_bounds():
  known = set(flags.FLAGS)
  video.define_flags()
  try:
    for name, value in (('fps', 'inf'), ('shot_chunks', '-1')):
      with pytest.raises(flags.IllegalFlagValueError):
        flags.FLAGS[name].parse(value)
  finally:
    flags.FLAGS.remove_flag_values(set(flags.FLAGS) - known)


def test_a_folder_without_clips_is_refused(tmp_path):
  with pytest.raises(UserError, match='neither a video file nor'):
    video.find_clips(tmp_path)


def test_an_invalid_caption_is_named_by_its_line(tmp_path):
  path = tmp_path / 'captions.jsonl'
  row = {'file': 'a.mp4', 'shot': 0, 'caption': 'Zoë'}
  path.write_text(json.dumps(row, ensure_ascii=False) + '\n\n{"file": 1}\n')
  with pytest.raises(UserError, match='line 3'):
    captions.load(path)
  path.write_text(json.dumps(row) + '\n')
  assert captions.load(path) == {('a.mp4', 0): 'Zoë'}


def test_part_names_of_different_folders_differ():
  assert part_name('a/x y.mp4') != part_name('b/x y.mp4')
  assert part_name('a/x y.mp4').startswith('x-y-')
