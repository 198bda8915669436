"""Weights that a film can change to: other students, other LoRA strengths.

A student is distilled for its number of steps. Where the folder of the weights
has students of other numbers of steps as well, a film that changes its steps is
made by the student of these steps. A LoRA strength of a film multiplies the
strengths that `--lora` gives.

Sets of weights are read from their files when they are first needed, exactly as
at the start of a command: a film does not depend on how its weights came to be
on the device.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.interop.adapters import parse
from cinejax.interop.archive import open_archive

_STAGES = ('dmd', 'tune')  # that finish a student


@dataclasses.dataclass(frozen=True)
class WeightSets:
  """The files of a director's weights."""

  load_fn: Callable[[pathlib.Path, Sequence[str]], Any]  # of file and adapters
  file: pathlib.Path  # the weights with which the director was loaded
  students: Mapping[int, pathlib.Path]  # by steps, without `file`
  adapters: Sequence[str]  # FILE or FILE:STRENGTH

  def check(self, lora_strength: float | None) -> None:
    """Raises UserError if there is no adapter whose strength could change."""
    if lora_strength is not None and not self.adapters:
      raise UserError(
        'there is no LoRA whose strength could change; give one with --lora'
      )

  def key(
    self, steps: int | None, lora_strength: float | None
  ) -> tuple[int | None, float]:
    """What identifies the weights for `steps` and a LoRA strength."""
    student = steps if steps in self.students else None
    return student, 1.0 if lora_strength is None else float(lora_strength)

  def load(self, steps: int | None, lora_strength: float | None) -> Any:
    """Loads the weights for `steps`, with adapters times `lora_strength`.

    Raises UserError if a file cannot be read, or is of another network.
    """
    factor = 1.0 if lora_strength is None else lora_strength
    pairs = (parse(one) for one in self.adapters)
    adapters = [f'{path}:{factor * strength}' for path, strength in pairs]
    return self.load_fn(self.students.get(steps, self.file), adapters)


def find_students(cfg: Config, file: pathlib.Path) -> dict[int, pathlib.Path]:
  """Students beside `file`, by their steps, which make the same films else.

  They have another number of steps than cfg.rollout.steps, and the config of
  film, diffusion and network that `cfg` has.
  """
  found: dict[int, pathlib.Path] = {}
  if cfg.rollout.sampler != 'few_step':
    return found
  for path in sorted(file.parent.glob('*.safetensors')):
    steps = None if path == file else _steps(cfg, path)
    if steps not in (None, cfg.rollout.steps):
      found.setdefault(steps, path)
  return found


def _steps(cfg: Config, path: pathlib.Path) -> int | None:
  """The steps of the student in a file; None if it is no student of `cfg`."""
  try:
    archive = open_archive(path)
    theirs = archive.config('rollout')
    same = all(
      archive.config(section).get(key) == getattr(getattr(cfg, section), key)
      for section, key in (
        ('film', 'frames_per_chunk'),
        ('diffusion', 'shift'),
        ('dit', 'layers'),
        ('dit', 'heads'),
        ('rollout', 'first_steps'),
        ('rollout', 'sampler'),
      )
    )
  except UserError:  # not a file of weights
    return None
  is_student = archive.metadata.get('stage') in _STAGES
  return theirs.get('steps') if is_student and same else None
