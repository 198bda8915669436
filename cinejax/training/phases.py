"""The phases of a stage: a curriculum, declared in the config.

A phase is a number of updates and the values of the config that differ in it,
such as the kinds and the length of films, the frames of a chunk, the batch or
the learning rate. Parameters, averages and the state of the optimizer pass from
each phase to the next, and updates are counted through all phases, so that a
run can be resumed in the middle of any phase.
"""

import dataclasses
from typing import Any, NamedTuple

from cinejax.config import Config, check, unknown_key


class Phase(NamedTuple):
  """One phase of a stage.

  Attributes:
    name: '' in a stage without phases.
    cfg: the config of this phase; `steps` of the stage is its last update,
      counted from the start of the stage.
    first: updates before this phase.
  """

  name: str
  cfg: Config
  first: int


def split(cfg: Config, stage: str) -> tuple[Phase, ...]:
  """The phases of the stage of that name, in order.

  Raises UserError if a phase changes a key that does not exist, or its values
  contradict each other.
  """
  settings = getattr(cfg.stage, stage)
  if not settings.phases:
    return (Phase('', cfg, 0),)
  phases, done = [], 0
  for name, steps, changes in settings.phase_rows:
    changed = cfg
    for key, value in changes:
      key = key.replace('stage.', f'stage.{stage}.', 1)
      changed = _replaced(changed, key.split('.'), value, key)
    changed = _replaced(changed, ['stage', stage, 'steps'], done + steps, '')
    check(changed)
    phases.append(Phase(name, changed, done))
    done += steps
  return tuple(phases)


def _replaced(section: Any, path: list[str], value: Any, key: str) -> Any:
  """`section` with the field at `path` set to `value`; `key` is for errors."""
  name, *rest = path
  known = [field.name for field in dataclasses.fields(section)]
  if name not in known:
    raise unknown_key(f'config.{key} (of a phase)', known)
  if rest:
    value = _replaced(getattr(section, name), rest, value, key)
  return dataclasses.replace(section, **{name: value})
