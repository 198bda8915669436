import json

import jax.numpy as jnp

from cinejax.training.metrics import MetricWriter, OneLate, Pace


def test_metrics_come_one_update_late():
  late = OneLate()
  assert late.take() is None
  assert late.swap(1, {'loss': jnp.float32(0.5)}) is None
  assert late.swap(2, {'loss': jnp.float32(0.25)}) == (1, {'loss': 0.5})
  assert late.take() == (2, {'loss': 0.25})
  assert late.take() is None


def test_rows_are_appended(tmp_path):
  for step in (1, 2):
    with MetricWriter(tmp_path, 'base', step - 1) as writer:
      writer.write(step, {'loss': 0.5, 'films_consumed': 8 * step})
  lines = (tmp_path / 'metrics' / 'base.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {'step': 1, 'loss': 0.5, 'films_consumed': 8},
    {'step': 2, 'loss': 0.5, 'films_consumed': 16},
  ]
  assert list((tmp_path / 'metrics' / 'tensorboard' / 'base').iterdir())


def test_pace_counts_from_the_last_look(monkeypatch):
  clock = iter([0.0, 2.0, 3.0])
  monkeypatch.setattr('time.monotonic', lambda: next(clock))
  pace = Pace(10, 20)
  assert pace.look(14) == {'steps_per_sec': 2.0, 'secs_left': 3.0}
  assert pace.look(15) == {'steps_per_sec': 1.0, 'secs_left': 5.0}
