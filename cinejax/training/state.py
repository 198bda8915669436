"""The training state: all that an update reads and writes.

Masters, averages and moments are float32. The key of an update is folded from
(seed, step), and the data of an update follow from `films_consumed`, so that
this tree, restored, continues the run bit for bit.
"""

from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from cinejax.core import tree as tree_lib
from cinejax.core.sharding import param_shardings, with_shardings

Params = Any  # nested dict of arrays


@chex.dataclass(frozen=True, mappable_dataclass=False)
class TrainState:
  step: jax.Array  # int32 [], updates done
  films_consumed: jax.Array  # int32 [], examples of those updates
  seed: jax.Array  # uint32 [], of the noise
  params: Params  # float32 masters
  opt_state: optax.OptState
  ema: Params  # running average of what ships of params

  @property
  def key(self) -> jax.Array:
    """The key of the update that comes next."""
    return jax.random.fold_in(jax.random.key(self.seed), self.step)


def make_init(
  init_fn: Callable[[jax.Array], Params],
  optimizer: optax.GradientTransformation,
  seed: int,
  ships: str = '',
) -> Callable[[], TrainState]:
  """A traceable function that makes the state before the first update.

  `ships` is the branch of the parameters that is averaged; '' = all.
  """

  def init() -> TrainState:
    params = tree_lib.cast(init_fn(jax.random.key(seed)), jnp.float32)
    return TrainState(
      step=jnp.int32(0),
      films_consumed=jnp.int32(0),
      seed=jnp.uint32(seed),
      params=params,
      opt_state=optimizer.init(params),
      ema=branch(params, ships),
    )

  return init


def abstract_state(init: Callable[[], TrainState], mesh: Mesh) -> TrainState:
  """Shapes, types and shardings of the state on `mesh`; nothing is made."""
  shapes = jax.eval_shape(init)
  return with_shardings(shapes, param_shardings(shapes, mesh))


def shardings(state: Any) -> Any:
  """The sharding of each leaf, of a state or an abstract one."""
  return jax.tree.map(lambda x: x.sharding, state)


def branch(params: Params, name: str) -> Params:
  """A branch of the parameters; '' = all of them."""
  return params[name] if name else params


def start_from(
  state: TrainState, loaded: Mapping[str, Params], ships: str = ''
) -> TrainState:
  """`state` with the branches `loaded` ('' = all) in place, laid out as before;
  the average starts from the one that `ships`."""

  def placed(new: Params, old: Params) -> Params:
    return jax.tree.map(
      lambda x, old: jax.device_put(x, old.sharding), new, old
    )

  params = state.params
  for name, tree in loaded.items():
    new = placed(tree, branch(params, name))
    params = {**params, name: new} if name else new
  if ships in loaded:
    # a copy: parameters and average are donated side by side
    average = jax.tree.map(jnp.copy, branch(params, ships))
    state = state.replace(ema=average)
  return state.replace(params=params)
