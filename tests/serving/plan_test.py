"""Planned directions: when they are due, and how they are saved."""

import json

from cinejax.film.journal import Settings
from cinejax.serving.directions import ChunkDirection
from cinejax.serving.plan import Plan

STEPS = ChunkDirection(settings=Settings(steps=2))


def _plan():
  plan = Plan()
  plan.add(4, ChunkDirection(prompt='later'))
  plan.add(1, ChunkDirection(prompt='first', cut=True), received=9.0)
  plan.add(2, STEPS)
  plan.end_chunk = 6
  return plan


def test_directions_that_are_due_are_merged_and_removed():
  plan = _plan()
  assert plan.take_due(0) is None
  due = plan.take_due(3)
  assert (due.chunk, due.received) == (1, 9.0)
  merged = ChunkDirection(prompt='first', cut=True, settings=STEPS.settings)
  assert due.direction == merged
  assert [one.chunk for one in plan.directions] == [4]


def test_to_hold_forgets_what_is_not_due():
  plan = _plan()
  plan.keep_due(2)
  assert [one.chunk for one in plan.directions] == [1, 2]
  assert plan.end_chunk is None
  plan.clear()
  assert not plan.directions


def test_a_saved_plan_is_read_back():
  plan, again = _plan(), Plan()
  again.load(json.loads(json.dumps(plan.to_json())))
  assert again.to_json() == plan.to_json() and again.end_chunk == 6
  assert [one.direction for one in again.directions] == [
    one.direction for one in plan.directions
  ]
