"""The program of a stage, and the weights that it is built from.

Weights are read from WORKDIR/NAME.safetensors or, if no stage of the run trains
them, from config.train.NAME_weights.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import optax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig
from cinejax.training.config import StageConfig
from cinejax.training.optim import make_optimizer
from cinejax.training.samples import SampleFn
from cinejax.training.state import Params
from cinejax.training.steps import LossFn

InitFn = Callable[[jax.Array], Params]  # key -> params


@dataclasses.dataclass(frozen=True)
class Frozen:
  """A network that the loss reads and that no update changes.

  Attributes:
    path: its weights file; None in a program without weights.
    init_fn: gives its shapes and types; its values are not used.
  """

  path: str | pathlib.Path | None
  init_fn: InitFn


@dataclasses.dataclass(frozen=True)
class Program:
  """All that the trainer needs of a stage.

  Attributes:
    init_fn: key -> parameters: a nested dict, whose top-level entries are
      called branches.
    loss_fn: the loss (training/steps.py).
    batches_fn: examples consumed -> the batches of this process that follow;
      None in a program without data, which can only be compiled or counted.
    sample_fn: (shipped params, path of an mp4) -> None; None = no samples.
    probe_fn: (shipped params, frozen params by name) -> metrics of held-out
      films; None = no such metrics.
    start: the weights files of the branches that start from weights; the name
      '' stands for all parameters. A path is None in a program without weights.
      Other branches start as init_fn makes them.
    frozen: networks that the loss reads, by name.
    ships: the branch that ships: it is averaged, sampled and written to the
      weights file of the stage; '' = all parameters.
    ship_fn: (average, frozen params by name) -> the shipped params.
    optimizer_fn: settings of the stage -> its optimizer.
  """

  init_fn: InitFn
  loss_fn: LossFn
  batches_fn: Callable[[int], Iterator[dict[str, Any]]] | None = None
  sample_fn: SampleFn | None = None
  probe_fn: (
    Callable[[Params, Mapping[str, Params]], dict[str, float]] | None
  ) = None
  start: Mapping[str, str | pathlib.Path | None] = dataclasses.field(
    default_factory=dict
  )
  frozen: Mapping[str, Frozen] = dataclasses.field(default_factory=dict)
  ships: str = ''
  ship_fn: Callable[[Params, Mapping[str, Params]], Params] = (
    lambda average, frozen: average
  )
  optimizer_fn: Callable[[StageConfig], optax.GradientTransformation] = (
    make_optimizer
  )


def init_dit(cfg: DiTConfig) -> InitFn:
  """Returns Program.init_fn of a DiT."""
  return functools.partial(denoiser.init_params, cfg)


def frozen_dit(cfg: DiTConfig) -> InitFn:
  """Returns Frozen.init_fn of a DiT, in the types that every pass casts to."""

  def init_fn(key: jax.Array) -> Params:
    params = denoiser.init_params(cfg, key)
    types = denoiser.resting_types(cfg, params)
    return jax.tree.map(lambda x, dtype: x.astype(dtype), params, types)

  return init_fn


def start_whole(path: str) -> dict[str, str]:
  """Program.start of all parameters from one file; '' = as init_fn makes."""
  return {'': path} if path else {}


def weights_path(cfg: Config, workdir: pathlib.Path, name: str) -> pathlib.Path:
  """The weights of stage `name`: a file, or for some codecs a folder.

  Raises UserError if it does not exist.
  """
  path = workdir / f'{name}.safetensors'
  if name not in cfg.train.stages:
    path = pathlib.Path(getattr(cfg.train, f'{name}_weights') or path)
  if not path.exists():
    raise UserError(
      f'there are no {name} weights at {path}; add {name} to '
      f'config.train.stages or set config.train.{name}_weights'
    )
  return path
