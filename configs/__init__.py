"""What the configs share: the names of variants, students and phases."""

from typing import Any

from ml_collections import ConfigDict

from cinejax.core.errors import UserError

# Students, by what follows a config's name and a colon: steps of a chunk.
STUDENTS = {'four': 4, 'two': 2, 'one': 1, 'frame_two': 2, 'frame_one': 1}
VARIANTS = ('', 'frame', *STUDENTS)  # `frame`: a base of one latent a chunk


def check_variant(variant: str, variants: tuple[str, ...] = VARIANTS) -> None:
  """Raises UserError unless it is one of `variants`, of which '' is one."""
  if variant not in variants:
    raise UserError(
      f'there is no variant {variant}; there are {", ".join(variants[1:])}'
    )


def make_student(config: ConfigDict, variant: str) -> None:
  """Sets what distilling the student `variant`, and directing it, need."""
  steps = STUDENTS[variant]
  first = 4 if variant.startswith('frame') else 0
  config.train.stages = ('init', 'dmd')
  config.rollout.steps = steps
  config.rollout.first_steps = first
  config.rollout.sampler = 'few_step'
  config.rollout.guidance = 1.0


def phase(
  name: str, steps: int, changes: dict[str, Any]
) -> tuple[str, int, tuple[tuple[str, Any], ...]]:
  """A row of config.stage.NAME.phases.

  For `steps` updates the keys of `changes` have other values: those of config,
  as `film.frames_per_chunk`, and as `stage.KEY` those of the stage itself. The
  learning rate has a schedule of its own in each phase.
  """
  return name, steps, tuple(changes.items())
