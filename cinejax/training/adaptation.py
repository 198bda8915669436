"""A stage that trains adapters of its networks in place of the networks.

The networks that a program starts from stay as their files have them, frozen;
for each of them an adapter (models/lora.py) is trained, averaged and kept in
checkpoints. A loss is given the two together, and knows of no adapter; what
is sampled and written is the network with the averaged adapter merged.
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
  """`program` with adapters of rank `cfg.rank` instead of whole networks.

  Raises UserError if it starts from no weights, which adapters adapt.
  """
  if not program.start:
    raise UserError(
      'an adapter needs weights that it adapts; set config.train.…_weights of '
      'what the stage starts from, or lora.rank to 0'
    )
  scale = cfg.alpha / cfg.rank

  def replaced(whole: Params, made: dict[str, Params]) -> Params:
    """Branches of `made` in `whole`; '' is all of it."""
    return made[''] if '' in made else {**whole, **made}

  def init_fn(key: jax.Array) -> Params:
    whole = program.init_fn(key)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(program.start))
    made = {
      name: lora.init_lora(
        branch(whole, name), own, rank=cfg.rank, targets=cfg.targets
      )
      for name, own in zip(program.start, keys, strict=True)
    }
    return replaced(whole, made)

  def loss_fn(params: Params, batch: Any, key: jax.Array, given: Any):
    made = {
      name: lora.attach(given[_plain(name)], branch(params, name), scale)
      for name in program.start
    }
    shipped = given[_plain(program.ships)]
    average = lora.attach(shipped, given['ema'], scale)
    whole = replaced(params, made)
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
  """What a frozen network is given as."""
  return f'plain {name}'.strip()


def _branch_init(program: Program, name: str):
  return lambda key: branch(program.init_fn(key), name)
