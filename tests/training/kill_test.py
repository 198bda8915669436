"""Runs in their own processes, which are killed or get signals."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.interop.tensors import load_tree
from cinejax.training.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A save of 256 MB takes long enough to be hit.
SAVER = """
import sys
import jax.numpy as jnp
from cinejax.interop.tensors import load_tree
from cinejax.training.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1], 2, {})
checkpoints.save(1, {'x': jnp.full((64, 2**20), 1.0)})
checkpoints.wait()
checkpoints.save(2, {'x': jnp.full((64, 2**20), 2.0)})
checkpoints.wait()
print('saved 2')
"""


def wait_for(condition, process, secs=1200):
  end = time.monotonic() + secs
  while not condition():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < end
    time.sleep(0.002)


@pytest.mark.slow
def test_kill_in_the_middle_of_a_save_loses_nothing_before_it(tmp_path):
  process = subprocess.Popen(
    [sys.executable, '-c', SAVER, str(tmp_path)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )
  try:
    wait_for(lambda: list(tmp_path.glob('2.*tmp*')), process)
  finally:
    process.kill()
    out, _ = process.communicate()
  assert b'saved 2' not in out
  assert list(tmp_path.glob('2.*tmp*'))
  abstract = {
    'x': jax.ShapeDtypeStruct(
      (64, 2**20), jnp.float32, sharding=jnp.zeros(1).sharding
    )
  }
  with Checkpoints(tmp_path, 2, {}) as checkpoints:
    assert checkpoints.latest_step == 1
    assert float(checkpoints.restore(abstract)['x'].mean()) == 1.0
  assert [p.name for p in tmp_path.iterdir()] == ['1']


def start(workdir, steps):
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'cinejax.train',
      '--config=configs/tiny.py',
      f'--workdir={workdir}',
      '--platform=cpu',
      "--config.train.stages=('codec',)",
      '--config.train.save_every_steps=3',
      '--config.train.log_every_steps=1',
      '--config.story.films=16',
      f'--config.stage.codec.steps={steps}',
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_codec_run_ends_in_the_same_weights(tmp_path, number):
  steps = 40
  whole = start(tmp_path / 'whole', steps)
  assert whole.wait(timeout=1200) == 0, whole.communicate()
  part = start(tmp_path / 'part', steps)
  checkpoints = tmp_path / 'part' / 'checkpoints' / 'codec'
  try:
    wait_for(
      lambda: (
        checkpoints.is_dir()
        and [p for p in checkpoints.iterdir() if p.name.isdigit()]
      ),
      part,
    )
    part.send_signal(number)
    out, err = part.communicate(timeout=1200)
  finally:
    part.kill()
  if number == signal.SIGTERM:
    assert part.returncode == 0, err
    assert 'and saved; the same command continues from there' in out
  assert not (tmp_path / 'part' / 'codec.safetensors').exists()
  again = start(tmp_path / 'part', steps)
  assert again.wait(timeout=1200) == 0, again.communicate()
  resumed, uncut = (
    load_tree(tmp_path / run / 'codec.safetensors') for run in ('part', 'whole')
  )
  assert resumed[1] == uncut[1]
  jax.tree.map(np.testing.assert_array_equal, resumed[0], uncut[0])
