import json
import sys
import types

import jax
import jax.numpy as jnp
import pytest

from cinejax.core.errors import UserError
from cinejax.training.metrics import (
  DelayedMetrics,
  MeanMetrics,
  MetricWriter,
  ThroughputMeter,
  Work,
)


def test_metrics_come_one_update_late():
  delayed = DelayedMetrics()
  assert delayed.take() is None
  assert delayed.swap(1, {'loss': jnp.float32(0.5)}) is None
  assert delayed.swap(2, {'loss': jnp.float32(0.25)}) == (1, {'loss': 0.5})
  assert delayed.take() == (2, {'loss': 0.25})
  assert delayed.take() is None


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


def test_a_row_holds_means_of_measured_values():
  means, nan = MeanMetrics(), float('nan')
  for loss, student, films in ((1.0, nan, 8), (2.0, 6.0, 16), (nan, nan, 24)):
    means.add({'loss': loss, 'student': student, 'films_consumed': films})
  assert means.take() == {'loss': 1.5, 'student': 6.0, 'films_consumed': 24}
  means.add({'loss': 4.0, 'student': nan, 'films_consumed': 32})
  assert means.take() == {'loss': 4.0, 'films_consumed': 32}


def test_speed_is_measured_since_the_last_call(monkeypatch):
  clock = iter([0.0, 2.0, 3.0])
  monkeypatch.setattr('time.monotonic', lambda: next(clock))
  meter = ThroughputMeter(10, 20, Work(tokens=7, flops=100, peak_flops=1000.0))
  meter.add_wait(0.25)
  meter.add_wait(0.75)
  assert meter.measure(14) == {
    'steps_per_sec': 2.0,
    'secs_left': 3.0,
    'data_wait_secs': 0.25,
    'tokens_per_sec': 14.0,
    'mfu': 0.2,
  }
  assert meter.measure(15)['data_wait_secs'] == 0


def test_unknown_metrics_are_absent(monkeypatch):
  clock = iter([0.0, 2.0])
  monkeypatch.setattr('time.monotonic', lambda: next(clock))
  row = ThroughputMeter(0, 2).measure(1)
  assert row.keys() == {'steps_per_sec', 'secs_left', 'data_wait_secs'}


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  with MetricWriter(tmp_path, 'base', 0, 'project') as writer:
    writer.write(1, {'loss': 0.5})
  assert not list(tmp_path.iterdir())


def test_rows_go_to_weights_and_biases(tmp_path, monkeypatch):
  calls = []
  run = types.SimpleNamespace(
    log=lambda row, step: calls.append((step, row)),
    finish=lambda: calls.append('finished'),
  )
  fake = types.SimpleNamespace(init=lambda **given: calls.append(given) or run)
  monkeypatch.setitem(sys.modules, 'wandb', fake)
  with MetricWriter(tmp_path / 'run', 'base', 0, 'films') as writer:
    writer.write(3, {'loss': 0.5})
  assert calls[0]['project'] == 'films' and calls[0]['id'] == 'run-base'
  assert calls[1:] == [(3, {'loss': 0.5}), 'finished']


def test_weights_and_biases_that_is_not_installed_is_an_error(
  tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  with pytest.raises(UserError, match=r'cinejax\[wandb\]'):
    MetricWriter(tmp_path, 'base', 0, 'films')
