"""Every ablation from its first command to its table, at the smallest size.

What points read (weights that ship, students, films) is made here, random and
tiny, in a folder of its own where the ablations' relative paths lead to it.
"""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

import configs
from cinejax.config import resolve
from cinejax.interop.tensors import save_tree
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from configs import ablations, story, tiny

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = sorted(
  path.stem
  for path in (ROOT / 'configs' / 'ablations').glob('*.py')
  if 'def sweep' in path.read_text() and path.stem != '__init__'
)
NETWORKS = (
  *(f'weights/story/{name}' for name in ('base', *configs.STUDENTS)),
  'runs/story/base_bidirectional',
  'runs/four/init',
)
TINY = ablations.variant('', tiny.get_config(), story.get_config()) | {
  f'stage.{stage}.{key}': 2
  for stage in ('base', 'init', 'dmd')
  for key in ('steps', 'batch')
}
TINY |= {
  'dmd.gan_layers': (0, 1),
  'dmd.gan_features': 8,
  'eval.films': 3,  # of which one returns to the opening
  'eval.batch': 3,
  'train.sample_every_steps': 0,
}
del TINY['name'], TINY['memory.bank_frames']  # points have longer windows
OWN = {'alignment': {'dit.layers': 6}}  # points name layers


def run(folder, *line):
  return subprocess.run(
    [sys.executable, '-m', *line],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    check=True,
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """A folder like the repository, with tiny weights and films."""
  folder = tmp_path_factory.mktemp('place')
  (folder / 'configs').symlink_to(ROOT / 'configs')
  cfg = resolve(tiny.get_config())
  codec = make_codec(cfg.codec).init(jax.random.key(0))
  save_tree(folder / 'weights/story/codec.safetensors', codec, {})
  params = denoiser.init_params(cfg.dit, jax.random.key(1))
  for name in NETWORKS:
    save_tree(folder / f'{name}.safetensors', params, {})
  for out, kind in (('films', 'train'), ('single', 'single')):
    run(
      folder, 'data_prep.story', '--config=configs/tiny.py', '--films=4',
      f'--kind={kind}', f'--out=runs/story/{out}',
      '--weights=weights/story/codec.safetensors',
    )  # fmt: skip
  return folder


def differing(module):
  """The last of the points with the same commands; the first have defaults."""
  last = {module.runs(point): point['name'] for point in module.sweep()}
  return list(last.values())


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_an_ablation_fills_its_table(name, place):
  module = importlib.import_module(f'configs.ablations.{name}')
  points = differing(module)
  try:
    done = run(
      place, 'cinejax.sweep', f'configs/ablations/{name}.py',
      f'--workdir=runs/{name}', '--platform=cpu',
      f'--points={",".join(points)}',
      *(
        f'--config.{key}={value}'
        for key, value in (TINY | OWN.get(name, {})).items()
      ),
    )  # fmt: skip
  except subprocess.CalledProcessError as error:
    logs = (place / 'runs' / name).glob('*/log.txt')
    said = '\n'.join(log.read_text()[-3000:] for log in logs)
    pytest.fail(f'{error.stdout}{error.stderr}\n{said}')
  found = json.loads((place / f'runs/{name}/table.json').read_text())
  assert [point['name'] for point in found['points']] == points
  known = {figure for row in found['table'].values() for figure in row}
  assert set(module.METRICS) <= known, 'a metric that nothing measures'
  title, _, header, *_ = done.stdout[done.stdout.index('# ') :].splitlines()
  assert title == f'# {module.__doc__.splitlines()[0]}'
  assert all(f'| {figure} |' in header for figure in module.METRICS)
  assert (place / f'runs/{name}/plot.png').stat().st_size > 5000
