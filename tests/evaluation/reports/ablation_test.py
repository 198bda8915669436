"""Tables of ablations, from folders that the tests write."""

import json

import pytest

from cinejax.evaluation.reports import ablation


def cell(mean):
  return {'mean': mean, 'std': 0.5, 'n': 8}


@pytest.fixture
def rows(tmp_path):
  """Two policies, one with two seeds, one of which resumed its training."""
  found = []
  for name, policy, seed, recall in (
    ('camr-seed0', 'camr', 0, 0.5),
    ('camr-seed1', 'camr', 1, 0.7),
    ('sink-seed0', 'sink', 0, 0.25),
  ):
    folder = tmp_path / name
    (folder / 'eval').mkdir(parents=True)
    (folder / 'metrics').mkdir()
    section = {
      'all': {'recall_given': cell(recall), 'sca': cell(0.9)},
      'kind': {'later': {'recall_given': cell(0.1), 'sca': cell(0.8)}},
    }
    report = {'policies': {policy: section}, 'device': 'abacus'}
    (folder / 'eval' / 'report.json').write_text(json.dumps(report))
    changes = {'name': name, 'memory.policy': policy, 'seed': seed}
    found.append(ablation.PointResult(name, changes, folder, f'make {name}'))
  return found


def means(folder):
  return {k: v['mean'] for k, v in ablation.point_metrics(folder).items()}


def test_points_of_one_setting_are_a_row_over_seeds(rows):
  assert means(rows[2].folder) == {
    'recall_given': 0.25,
    'sca': 0.9,
    'recall_given later': 0.1,
  }
  metrics = {row.name: ablation.point_metrics(row.folder) for row in rows}
  table = ablation.grouped(rows, metrics)
  assert list(table) == ['camr', 'sink']
  camr = table['camr']['recall_given']
  assert camr == pytest.approx({'mean': 0.6, 'std': 0.1, 'n': 2})


def test_sampling_seeds_are_the_spread_of_a_single_point(rows):
  path = rows[2].folder / 'eval' / 'report.json'
  report = json.loads(path.read_text())
  report['policies']['sink']['seeds'] = {'sca': cell(0.9) | {'n': 3}}
  path.write_text(json.dumps(report))
  metrics = {row.name: ablation.point_metrics(row.folder) for row in rows}
  table = ablation.grouped(rows, metrics)
  assert table['sink']['sca'] == {'mean': 0.9, 'std': 0.5, 'n': 3}
  assert table['sink']['recall_given'] == {'mean': 0.25, 'std': 0.0, 'n': 1}


def test_costs_are_read_from_the_records_of_each_command(rows):
  folder = rows[0].folder
  steps = [
    {'step': 20, 'steps_per_sec': 2.0, 'loss': 3.0},
    {'step': 40, 'steps_per_sec': 4.0, 'loss': 2.0},
    {'step': 40, 'steps_per_sec': 2.0, 'loss': 1.5},  # resumed after step 20
    {'step': 45, 'recall/far_exact': 0.75},  # of the probe
  ]
  (folder / 'metrics' / 'base.jsonl').write_text(
    ''.join(json.dumps(row) + '\n' for row in steps)
  )
  bench = {'what': 'rollout', 'chunk_ms': {'median': 7.0}, 'policy': 'camr'}
  (folder / 'bench.jsonl').write_text(json.dumps(bench) + '\n')
  (folder / 'trajectories' / 'part').mkdir(parents=True)
  (folder / 'trajectories' / 'part' / 'a').write_bytes(b'12345')
  (folder / 'seconds.json').write_text('{"cinejax.train": 9.5}')
  (folder / 'eval').rename(folder / 'eval-init')
  found = means(folder)
  assert found['init sca'] == 0.9 and 'sca' not in found
  assert found['cinejax.train secs'] == 9.5
  assert found['base steps'] == 45 and found['base loss'] == 1.5
  assert found['base recall/far_exact'] == 0.75
  assert found['base secs'] == 20 / 2 + 20 / 2
  assert found['rollout chunk_ms'] == 7.0
  assert found['stored bytes'] == 5


def test_markdown_has_the_chosen_metrics_and_json_has_all(rows, tmp_path):
  asked = ('recall_given', 'nothing')
  text = ablation.write(tmp_path, 'Which one?', rows, asked)
  lines = text.splitlines()
  assert lines[0] == '# Which one?'
  assert lines[-2:] == [
    '| camr | 0.6 ± 0.1 (2) | – |',
    '| sink | 0.25 | – |',
  ]
  assert (tmp_path / 'table.md').read_text() == text
  content = json.loads((tmp_path / 'table.json').read_text())
  assert content['table']['sink']['sca']['mean'] == 0.9
  sink = content['points'][2]
  assert sink['changes']['memory.policy'] == 'sink'
  assert sink['command'] == 'make sink-seed0'
  assert sink['environment'] == {'device': 'abacus'}
  assert (tmp_path / 'plot.png').read_bytes().startswith(b'\x89PNG')
