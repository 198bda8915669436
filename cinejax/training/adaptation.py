"""Trains adapters of the networks of a stage in place of the networks.

The networks that a program starts from are frozen. For each of them an adapter
(models/lora.py) is trained, averaged and saved in checkpoints. The loss gets a
network together with its adapter, and treats them as a network. Samples and
weights files hold the network with the averaged adapter merged.
"""

import dataclasses
from typing import Any

import jax

from cinejax.core.errors import UserError
from cinejax.models import lora
from cinejax.training.config import LoraConfig
from cinejax.training.program import Frozen, Program
from cinejax.training.state import Params, branch


def adapted(program: Program, cfg: LoraConfig) -> Program:
  """Returns `program` with adapters of rank `cfg.rank` as its parameters.

  Raises UserError if it does not start from weights.
  """
  if not program.start:
    raise UserError(
      'an adapter needs weights to adapt; set config.train.NAME_weights of the '
      'network that the stage starts from, or config.stage.NAME.lora.rank to 0'
    )
  scale = cfg.alpha / cfg.rank

  def replaced(whole: Params, branches: dict[str, Params]) -> Params:
    """`whole` with `branches` in place; the branch '' is all of it."""
    return branches[''] if '' in branches else {**whole, **branches}

  def init_fn(key: jax.Array) -> Params:
    whole = program.init_fn(key)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(program.start))
    adapters = {
      name: lora.init_lora(
        branch(whole, name), own, rank=cfg.rank, targets=cfg.targets
      )
      for name, own in zip(program.start, keys, strict=True)
    }
    return replaced(whole, adapters)

  def loss_fn(params: Params, batch: Any, key: jax.Array, given: Any):
    networks = {
      name: lora.attach(given[_plain(name)], branch(params, name), scale)
      for name in program.start
    }
    shipped = given[_plain(program.ships)]
    average = lora.attach(shipped, given['ema'], scale)
    whole = replaced(params, networks)
    return program.loss_fn(whole, batch, key, {**given, 'ema': average})

  frozen = {
    _plain(name): Frozen(path, _branch_init(program, name))
    for name, path in program.start.items()
  }
  return dataclasses.replace(
    program,
    init_fn=init_fn,
    loss_fn=loss_fn,
    start={},
    frozen={**program.frozen, **frozen},
    ship_fn=lambda average, frozen: lora.merge(
      frozen[_plain(program.ships)], average, scale
    ),
  )


def _plain(name: str) -> str:
  """The name under which the loss finds the frozen branch `name`."""
  return f'plain {name}'.strip()


def _branch_init(program: Program, name: str):
  return lambda key: branch(program.init_fn(key), name)
