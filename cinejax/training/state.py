"""The training state: all that an update reads and writes.

Parameters, averages and moments are float32. The key of an update is folded
from (seed, step), and `films_consumed` determines the data of an update, so
that a restored state continues the run bit for bit.
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
  """The training state of a stage.

  Attributes:
    step: updates done, int32 [].
    films_consumed: examples in those updates, int32 [].
    seed: seed of the noise, uint32 [].
    params: trained parameters, float32.
    opt_state: state of the optimizer.
    ema: running average of the branch of `params` that ships, float32.
  """

  step: jax.Array
  films_consumed: jax.Array
  seed: jax.Array
  params: Params
  opt_state: optax.OptState
  ema: Params

  @property
  def key(self) -> jax.Array:
    """The random key of the next update."""
    return jax.random.fold_in(jax.random.key(self.seed), self.step)


def make_init(
  init_fn: Callable[[jax.Array], Params],
  optimizer: optax.GradientTransformation,
  seed: int,
  ships: str = '',
) -> Callable[[], TrainState]:
  """Returns a traceable function that makes the state before the first update.

  Args:
    init_fn: key -> parameters.
    optimizer: makes the state of the optimizer.
    seed: of the parameters and of the noise.
    ships: the branch of the parameters that is averaged; '' = all.
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
  """The shapes, types and shardings of the state on `mesh`, without arrays."""
  shapes = jax.eval_shape(init)
  return with_shardings(shapes, param_shardings(shapes, mesh))


def shardings(state: Any) -> Any:
  """The sharding of each leaf of a state, abstract or not."""
  return jax.tree.map(lambda x: x.sharding, state)


def branch(params: Params, name: str) -> Params:
  """A branch of the parameters; '' = all of them."""
  return params[name] if name else params


def start_from(
  state: TrainState, loaded: Mapping[str, Params], ships: str = ''
) -> TrainState:
  """Replaces branches of the parameters by loaded weights.

  Args:
    state: the state before the first update.
    loaded: weights by branch; '' stands for all parameters.
    ships: the branch that is averaged. If it is loaded, the average starts from
      the loaded weights.

  Returns:
    The state, with the same shardings.
  """

  def placed(new: Params, old: Params) -> Params:
    return jax.tree.map(
      lambda x, old: jax.device_put(x, old.sharding), new, old
    )

  params = state.params
  for name, tree in loaded.items():
    new = placed(tree, branch(params, name))
    params = {**params, name: new} if name else new
  if ships in loaded:
    # A copy, because the parameters and the average are donated together.
    average = jax.tree.map(jnp.copy, branch(params, ships))
    state = state.replace(ema=average)
  return state.replace(params=params)
