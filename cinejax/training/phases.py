"""The phases of a stage: a curriculum, declared in the config.

A phase is a number of updates and the values of the config that differ
meanwhile, such as the kinds and the length of films, the frames of a chunk, the
batch or the learning rate. Parameters, averages and the optimizer's state go
from each phase to the next, and updates are counted through all of them, so
that a run is resumed in the middle of any phase as in a stage without phases.
"""

import dataclasses
from typing import Any, NamedTuple

from cinejax.config import Config, check, unknown_key


class Phase(NamedTuple):
  name: str  # '' for a stage without phases
  cfg: Config  # of this phase; its stage's `steps` is the last update
  first: int  # updates done before it


def split(cfg: Config, stage: str) -> tuple[Phase, ...]:
  """The phases of the stage of that name, in order.

  Raises:
    UserError: a phase changes a key that does not exist, or values do not go
      together in it.
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
  """`section` with the field at `path` of its fields set to `value`."""
  name, *rest = path
  known = [field.name for field in dataclasses.fields(section)]
  if name not in known:
    raise unknown_key(f'config.{key} (of a phase)', known)
  if rest:
    value = _replaced(getattr(section, name), rest, value, key)
  return dataclasses.replace(section, **{name: value})
