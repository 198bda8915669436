"""launch/bench_wan.sh, with a `python` that notes what it would time."""

import ast
import os
import pathlib
import subprocess

import pytest

from cinejax.config import resolve
from configs import wan_1_3b

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETUP = """cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
PYTHON="$PWD/python"
"""


@pytest.fixture
def run(tmp_path):
  """-> run(*flags): (settings, other flags) of each row."""
  (tmp_path / 'launch').mkdir()
  (tmp_path / 'launch' / 'setup.sh').write_text(SETUP)
  script = tmp_path / 'launch' / 'bench_wan.sh'
  script.write_text((ROOT / 'launch' / 'bench_wan.sh').read_text())
  python = tmp_path / 'python'
  python.write_text('#!/bin/sh\necho "$*" >> calls\n')
  python.chmod(0o755)

  env = {name: x for name, x in os.environ.items() if name != 'PYTHON'}

  def run(*flags):
    subprocess.run(['bash', script, *flags], check=True, env=env)
    lines = (tmp_path / 'calls').read_text().splitlines()
    (tmp_path / 'calls').unlink()
    return [_read(line.split()) for line in lines]

  return run


def _read(words):
  assert words[:2] == ['-m', 'cinejax.bench']
  given = dict(word.removeprefix('--').partition('=')[::2] for word in words)
  path, _, variant = given.pop('config').partition(':')
  assert path == 'configs/wan_1_3b.py'
  config = wan_1_3b.get_config(variant).lock()
  for key in [key for key in given if key.startswith('config.')]:
    value = given.pop(key)
    value = value if key == 'config.codec.name' else ast.literal_eval(value)
    config.update_from_flattened_dict({key.removeprefix('config.'): value})
  return resolve(config), given


def _told(cfg):
  return (
    cfg.rollout.sampler,
    cfg.rollout.steps,
    cfg.film.frames_per_chunk,
    cfg.memory.window_frames,
    cfg.codec.name,
  )


ROWS = [
  ('few_step', 4, 3, 3, 'wan_vae'),
  ('few_step', 2, 1, 3, 'wan_vae'),
  ('few_step', 4, 3, 3, 'taehv'),
  ('few_step', 4, 3, 9, 'wan_vae'),
  ('few_step', 2, 1, 9, 'wan_vae'),
  ('unipc', 50, 3, 9, 'wan_vae'),
]


def test_rows_are_of_1_3b_at_832x480(run):
  rows = run('--repeats=20')
  assert [_told(cfg) for cfg, _ in rows] == ROWS
  for cfg, flags in rows:
    assert (cfg.film.width, cfg.film.height) == (832, 480)
    assert (cfg.dit.layers, cfg.dit.features) == (30, 1536)
    assert (cfg.memory.policy, cfg.memory.routed_frames) == ('camr', 5)
    assert cfg.dit.compute_dtype == cfg.codec.compute_dtype == 'bfloat16'
    assert flags['repeats'] == '20'
    assert flags['out'] == 'runs/bench/wan.jsonl'


def test_reduced_rows_are_the_same_but_small(run):
  rows = run('--reduced', '--out=other.jsonl')
  assert [_told(cfg) for cfg, _ in rows] == ROWS
  for cfg, flags in rows:
    assert (cfg.dit.layers, cfg.dit.features) == (2, 64)
    assert cfg.film.width * cfg.film.height < 20_000
    assert flags['out'] == 'other.jsonl'  # what is given comes last
