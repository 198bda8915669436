"""The recorded plans of benchmarks/plans.jsonl that must fit, and still do."""

import json
import pathlib

import pytest

from cinejax import plan
from cinejax.config import resolve
from configs import wan_1_3b, wan_14b
from tests.plans import needs_gpu_compiler, needs_tpu_compiler

ROOT = pathlib.Path(__file__).resolve().parents[1]


# the plans of launch/plans.sh that must fit: model, stage, chunks, topology,
# batch, flags
OWN = (
  '--config.dmd.real_layers=0 --config.dmd.real_heads=0 '
  '--config.dmd.real_mlp_features=0'
)
FITS = (
  '14b base 20 v5p:4x4x4 8',
  '14b dmd 20 v5p:4x4x4 8',
  '14b base 7 v5e:16x16 32',
  '1_3b base 7 h100:1x1x1 1',
  f'1_3b dmd 7 h100:1x1x1 1 {OWN}',
)
TEN_MINUTES = (
  '1_3b rollout 7 h100:1x1x1 1 --config.memory.archive=host '
  '--config.memory.dtype=int4'
)


def planned_rows():
  lines = (ROOT / 'benchmarks' / 'plans.jsonl').read_text().splitlines()
  return {row['key']: row for row in map(json.loads, lines)}


@pytest.mark.parametrize('key', FITS)
def test_what_must_fit_was_compiled_and_fits(key):
  row = planned_rows()[key]
  model, stage, chunks, topology, *_ = key.split()
  labels = [row[x] for x in ('config', 'stage', 'topology', 'chunks', 'size')]
  assert labels == [f'wan_{model}', stage, topology, int(chunks), [480, 832]]
  frames = 4 * row['chunks'] * row['frames_per_chunk'] - 3
  assert frames == {7: 81, 20: 237}[row['chunks']]
  assert row['fits'] and 0 < row['bytes']['total'] <= row['hbm_bytes']


def test_ten_minutes_of_film_fit_one_card_and_stay_readable():
  row = planned_rows()[TEN_MINUTES]
  assert row['config'] == 'wan_1_3b' and row['size'] == [480, 832]
  assert row['devices'] == 1 and row['topology'] == 'h100:1x1x1'
  assert row['fits'] and row['bytes']['total'] <= 80e9
  # 4 pixel frames for a latent frame, 16 of them a second
  assert row['archive']['frames'] * 4 / 16 >= 600


@pytest.mark.slow
@pytest.mark.parametrize(
  'key',
  [
    pytest.param(
      key, marks=needs_gpu_compiler if 'h100' in key else needs_tpu_compiler
    )
    for key in FITS
  ],
)
def test_what_must_fit_still_does(key):
  """Recorded plans; at 14B, a TPU's compiler takes ten minutes or more."""
  model, stage, chunks, topology, batch, *flags = key.split()
  config = {'1_3b': wan_1_3b, '14b': wan_14b}[model].get_config()
  changes = {'data.chunks': int(chunks), f'stage.{stage}.batch': int(batch)}
  changes['dit.remat'] = 'full'  # as launch/plans.sh says
  for flag in flags:
    name, value = flag.removeprefix('--config.').split('=')
    changes[name] = int(value)
  config.update_from_flattened_dict(changes)
  row = plan.plan(stage, resolve(config), topology)
  before = planned_rows()[key]['bytes']['total']
  assert row['fits']
  assert row['bytes']['total'] == pytest.approx(before, rel=0.05)
