"""How a chunk gets from noise to film: its times, its noise, its steps.

Films of a batch may take different numbers of steps: a student more for a
film's first chunk (`rollout.first_steps`), and in training fewer, up to an
exit step. Both are said by a grid of times that reaches 0 early, since a step
from 0 to 0 changes nothing; so one executable serves all.

A chunk's first frame may be given, an image: it is then at t = 0 throughout,
while the others are denoised beside it (`ChunkInput.image_BYXC`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import solver, timesteps, unipc
from cinejax.diffusion.config import DiffusionConfig
from cinejax.rollout.config import RolloutConfig
from cinejax.rollout.state import ChunkInput, RolloutState


@dataclasses.dataclass(frozen=True)
class Sampler:
  rollout: RolloutConfig
  diffusion: DiffusionConfig
  latent_shape: tuple[int, int, int, int]  # F, Y, X, C of a chunk

  @property
  def steps(self) -> int:
    """J, of the chunk that takes most."""
    return max(self.rollout.steps, self.rollout.first_steps)

  @property
  def uneven(self) -> bool:
    """Whether grids reach 0 early without an exit step, too."""
    return bool(self.rollout.first_steps)

  def grid(
    self, start_B: jax.Array, exit_step: jax.Array | None = None
  ) -> jax.Array:
    """[B, J + 1] times of each film's chunk, and zeros once it is clean."""
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
    """[J, B, F, Y, X, C]: the start, then what each later step renoises with.

    A film's noise depends on its own key and frame alone, not on its batch.
    """
    fresh = self.steps if self.rollout.sampler == 'few_step' else 1

    def draw(key, start):
      return jax.random.normal(
        jax.random.fold_in(key, start), (fresh, *self.latent_shape)
      )

    return jax.vmap(draw, out_axes=1)(state.key_B, state.start_B)

  def history(self, x: jax.Array) -> unipc.History | None:
    """What the sampler remembers before its first step."""
    return unipc.no_history(x) if self.rollout.sampler == 'unipc' else None

  def advance(self, chunk, j, x, v, history, grid_BJ, noise_JBFYXC):
    """Step j: (x at the next time, history)."""
    t_B, next_B = grid_BJ[:, j], grid_BJ[:, j + 1]
    match self.rollout.sampler:
      case 'few_step':
        # The last step goes to t = 0, where no noise is added: any will do.
        noise = noise_JBFYXC[(j + 1) % len(noise_JBFYXC)]
        x = solver.few_step(x, v, t_B, next_B, noise)
      case 'unipc':
        grid_J = timesteps.euler_grid(self.rollout.steps, self.diffusion.shift)
        row_C = jnp.asarray(unipc.table(grid_J))[j]
        x, history = unipc.step(x, v, t_B, history, row_C)
      case _:
        x = solver.euler_step(x, v, t_B, next_B)
    return hold(chunk, x), history

  def times(self, chunk: ChunkInput, t_B: jax.Array) -> jax.Array:
    """[B, 1, F] of one segment; a given frame is clean."""
    t_B1F = jnp.repeat(t_B[:, None, None], self.latent_shape[0], 2)
    return t_B1F if chunk.image_BYXC is None else t_B1F.at[:, :, 0].set(0)


def hold(chunk: ChunkInput, x_BFYXC: jax.Array) -> jax.Array:
  """With the first frame that is given, if one is."""
  if chunk.image_BYXC is None:
    return x_BFYXC
  return x_BFYXC.at[:, 0].set(chunk.image_BYXC)
