"""Rules of config fields, stated where a field is declared; the mesh's shape.

A field of a section, `window_frames: int = positive()`, carries its rule as
dataclass metadata, which `cinejax.config` checks. A section whose fields must
agree with one another has a method `conflict(at)` besides, which returns one
sentence about them, '' if they agree; `at` is the section's key, `config.dmd`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

_KEY = 'rule'  # in the metadata of a field
FLOATS = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class Rule:
  """What a value must be."""

  must: str  # completes 'config.a.b is 3; it must …'
  holds: Callable[[Any], bool]


def rule_of(field: dataclasses.Field) -> Rule | None:
  """The rule that `field` was declared with."""
  return field.metadata.get(_KEY)


def ruled(
  must: str,
  holds: Callable[[Any], bool],
  default: Any = dataclasses.MISSING,
) -> Any:
  """A field with the rule `holds`, which `must` says in words."""
  rule = Rule(must, holds)
  return dataclasses.field(default=default, metadata={_KEY: rule})


def one_of(*choices: Any, default: Any = dataclasses.MISSING) -> Any:
  """A field that takes one of `choices`."""
  listed = ', '.join(str(choice) for choice in choices)
  return ruled(f'be one of {listed}', lambda value: value in choices, default)


def positive(default: Any = dataclasses.MISSING) -> Any:
  """A field that is more than 0."""
  return ruled('be more than 0', lambda value: value > 0, default)


def non_negative(default: Any = dataclasses.MISSING) -> Any:
  """A field that is 0 or more."""
  return ruled('not be negative', lambda value: value >= 0, default)


def share() -> Any:
  """A field in [0, 1)."""
  return ruled('be at least 0 and less than 1', lambda value: 0 <= value < 1)


def between(
  least: float,
  most: float,
  why: str = '',
  default: Any = dataclasses.MISSING,
) -> Any:
  """A field in [least, most]; `why` ends the sentence."""
  reason = f', {why}' if why else ''
  return ruled(
    f'be at least {least} and at most {most}{reason}',
    lambda value: least <= value <= most,
    default,
  )


def multiple_of(number: int, why: str) -> Any:
  """A field of 1, 2, … times `number`; `why` ends the sentence."""
  return ruled(
    f'be a multiple of {number}, {why}',
    lambda value: value > 0 and value % number == 0,
  )


def axis_size() -> Any:
  """A field that counts devices along an axis; -1 takes the rest."""
  return ruled(
    'be at least 1, or -1 for all other devices',
    lambda value: value == -1 or value > 0,
  )


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each axis; -1, at most once, takes the rest."""

  data: int = axis_size()
  fsdp: int = axis_size()
  sequence: int = axis_size()
  tensor: int = axis_size()
