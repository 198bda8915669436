"""Every writer ends in one sentence when its disk fails."""

import errno
import os
import pathlib
import resource
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from cinejax.core.disk import disk_errors
from cinejax.core.errors import UserError
from cinejax.core.files import append_line, write_json
from cinejax.film import media
from cinejax.interop.tensors import load_tree, save_tree
from cinejax.training.metrics import MetricWriter

NOISE = np.random.default_rng(0).integers(0, 255, (24, 512, 512, 3), np.uint8)


def write_metrics(path):
  with MetricWriter(path.parent, 'base', 0) as writer:
    for step in range(40):
      writer.write(step, {'loss' * 20_000: 1.0})


WRITERS = {
  'film.mp4': lambda path: media.write_video(path, NOISE, 8),
  'sheet.png': lambda path: media.save_image(
    path, Image.fromarray(NOISE.reshape(-1, 512, 3))
  ),
  'base.safetensors': lambda path: save_tree(path, {'x': NOISE}, {}),
  'report.json': lambda path: write_json(path, {'x': 'y' * 3_000_000}),
  'lines.jsonl': lambda path: append_line(path, 'y' * 3_000_000),
  'metrics': write_metrics,
}


@pytest.mark.parametrize('name', WRITERS)
def test_a_full_disk(small_disk, name):
  save_tree(small_disk / 'base.safetensors', {'x': np.ones(3)}, {})
  with pytest.raises(UserError, match='the disk is full; free some space'):
    WRITERS[name](small_disk / name)
  tree, _ = load_tree(small_disk / 'base.safetensors')  # as it was
  assert tree['x'].tolist() == [1, 1, 1]
  assert not list(small_disk.glob('.partial-*'))


@pytest.mark.parametrize('name', WRITERS)
def test_a_read_only_disk(small_disk, name):
  line = ['mount', '-o', 'remount,ro', str(small_disk)]
  subprocess.run(line, check=True)
  with pytest.raises(UserError, match='the disk is read-only'):
    WRITERS[name](small_disk / name)


def test_a_file_that_is_too_large(tmp_path):
  _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
  try:
    with pytest.raises(UserError, match='larger than is allowed'):
      WRITERS['report.json'](tmp_path / 'report.json')
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_vanishes_while_a_film_is_written(tmp_path):
  folder = tmp_path / 'run'

  def frames():
    yield NOISE[0]
    shutil.rmtree(folder)
    yield NOISE[1]

  with pytest.raises(UserError, match=r'film.mp4 cannot be .* has vanished'):
    media.write_video(folder / 'film.mp4', frames(), 8)


def test_errors_of_other_files_pass(tmp_path):
  with pytest.raises(FileNotFoundError):
    with disk_errors(tmp_path / 'a'):
      pathlib.Path('nowhere/b').read_text()
  with pytest.raises(OSError, match=os.strerror(errno.EPIPE)):
    with disk_errors(tmp_path / 'a'):
      raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
