"""The times, the noise and the updates that take a chunk from noise to film.

The films of a batch may take different numbers of steps: a student may take
more for a film's first chunk (`rollout.first_steps`), and in training it stops
at an exit step. Both are expressed by a grid of times that reaches 0 early:
a step from 0 to 0 changes nothing, so that one executable serves all films.

The first latent frame of a chunk may be given as an image
(`ChunkInput.image_BYXC`). It then stays at t = 0 while the others are denoised
beside it.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import solver, timesteps, unipc
from cinejax.diffusion.config import DiffusionConfig
from cinejax.rollout.config import RolloutConfig
from cinejax.rollout.state import ChunkInput, RolloutState


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Schedule:
  """The times and the noise of the steps of one chunk."""

  grid_BJ: jax.Array  # [B, J + 1], descending; 0 once the chunk is clean
  # [J, B, F, Y, X, C]: the start, then what each later step adds; samplers
  # that add no noise have the start alone
  noise_JBFYXC: jax.Array


@dataclasses.dataclass(frozen=True)
class Sampler:
  """`rollout.sampler`: euler, unipc or few_step."""

  rollout: RolloutConfig
  diffusion: DiffusionConfig
  latent_shape: tuple[int, int, int, int]  # F, Y, X, C of a chunk

  @property
  def steps(self) -> int:
    """J of the chunk that takes the most steps."""
    return max(self.rollout.steps, self.rollout.first_steps)

  @property
  def uneven(self) -> bool:
    """Whether grids may reach 0 early even without an exit step."""
    return bool(self.rollout.first_steps)

  def schedule(
    self, state: RolloutState, exit_step: jax.Array | None = None
  ) -> Schedule:
    """The schedule of the chunk that each film makes next.

    `exit_step` (int32 []): the last step to be run; None: all are.
    """
    return Schedule(
      grid_BJ=self.grid(state.start_B, exit_step),
      noise_JBFYXC=self.noise(state),
    )

  def grid(
    self, start_B: jax.Array, exit_step: jax.Array | None = None
  ) -> jax.Array:
    """Times [B, J + 1] of chunks that start at frames start_B."""
    few = self.rollout.sampler == 'few_step'
    make = timesteps.student_grid if few else timesteps.euler_grid

    def padded(steps):
      grid = make(steps, self.diffusion.shift)
      return jnp.asarray(np.pad(grid, (0, self.steps - steps)))[None]

    grid_BJ = jnp.repeat(padded(self.rollout.steps), len(start_B), 0)
    if self.rollout.first_steps:
      opening_B1 = (start_B == 0)[:, None]
      grid_BJ = jnp.where(opening_B1, padded(self.rollout.first_steps), grid_BJ)
    if exit_step is None:
      return grid_BJ
    return jnp.where(jnp.arange(self.steps + 1)[None] <= exit_step, grid_BJ, 0)

  def noise(self, state: RolloutState) -> jax.Array:
    """Noise [J, B, F, Y, X, C], as in `Schedule`.

    It depends on the key of a film and the frame alone, not on the batch.
    """
    fresh = self.steps if self.rollout.sampler == 'few_step' else 1

    def draw(key, start):
      return jax.random.normal(
        jax.random.fold_in(key, start), (fresh, *self.latent_shape)
      )

    return jax.vmap(draw, out_axes=1)(state.key_B, state.start_B)

  def history(self, x: jax.Array) -> unipc.History | None:
    """The sampler's history before its first step; None if it has none."""
    return unipc.no_history(x) if self.rollout.sampler == 'unipc' else None

  def advance(
    self,
    chunk: ChunkInput,
    j: jax.Array | int,
    x: jax.Array,
    v: jax.Array,
    history: unipc.History | None,
    schedule: Schedule,
  ) -> tuple[jax.Array, unipc.History | None]:
    """Takes step j: returns x at the next time, and the history.

    `v` is the velocity at x. Both are [B, F, Y, X, C].
    """
    t_B, next_B = schedule.grid_BJ[:, j], schedule.grid_BJ[:, j + 1]
    match self.rollout.sampler:
      case 'few_step':
        # the last step goes to t = 0, where noise has no weight
        noise_JBFYXC = schedule.noise_JBFYXC
        noise = noise_JBFYXC[(j + 1) % len(noise_JBFYXC)]
        x = solver.few_step(x, v, t_B, next_B, noise)
      case 'unipc':
        grid_J = timesteps.euler_grid(self.rollout.steps, self.diffusion.shift)
        row_C = jnp.asarray(unipc.table(grid_J))[j]
        x, history = unipc.step(x, v, t_B, history, row_C)
      case _:
        x = solver.euler_step(x, v, t_B, next_B)
    return with_given_frame(chunk, x), history

  def times(self, chunk: ChunkInput, t_B: jax.Array) -> jax.Array:
    """Times [B, 1, F] of one segment; 0 for a given frame."""
    t_B1F = jnp.repeat(t_B[:, None, None], self.latent_shape[0], 2)
    return t_B1F if chunk.image_BYXC is None else t_B1F.at[:, :, 0].set(0)


def with_given_frame(chunk: ChunkInput, x_BFYXC: jax.Array) -> jax.Array:
  """`x_BFYXC` with the given first frame in place, if there is one."""
  if chunk.image_BYXC is None:
    return x_BFYXC
  return x_BFYXC.at[:, 0].set(chunk.image_BYXC)
