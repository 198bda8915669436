"""Distribution matching distillation on a student's own films.

The student's film x, noised to x_t, is read by two scores: the real score,
which is the teacher, and the fake score, which is trained on the student's
films all the while.

  g = (x_fake(x_t) - x_real(x_t)) / mean|x - x_real(x_t)|
  L_student = 1/2 || x - sg(x - g) ||^2                                    (12)
  L_fake = teacher forcing on sg(x)

sg stops gradients, x_real is guided, and t is clamped to [0.02, 0.98]. The mean
is over what shares one t: a chunk or, with `diffusion.time_per` = film, a film.
Scores are causal, with sg(x) as the clean half, or bidirectional. The fake
score is trained in every update, the student in one of `every`; both use the
same film. (Yin et al. 2024; Self Forcing, section 3.3.)

Parameters are a dict with `student`, `fake` and, with an adversary, `head`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.diffusion import flow, timesteps
from cinejax.diffusion.config import DiffusionConfig
from cinejax.models.denoiser import FilmFn
from cinejax.objectives import guidance as guidance_lib
from cinejax.objectives.adversarial import Adversary
from cinejax.objectives.guidance import Films
from cinejax.objectives.self_forcing import StudentFn
from cinejax.objectives.teacher_forcing import velocity_loss

Batch = dict[str, jax.Array]
_CLAMP = (0.02, 0.98)


def make_dmd_loss(
  student_fn: StudentFn,
  fake_fn: FilmFn,
  real_fn: FilmFn,
  diffusion: DiffusionConfig,
  *,
  guidance: float,
  negative_text_WD: jax.Array,
  every: int,
  adversary: Adversary | None = None,
) -> Callable[
  [Any, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Batch]
]:
  """Makes loss_fn(params, batch, key, given) -> (loss, metrics), eq. (12).

  `given` has the network `real` and `step`, the number of updates done. The
  gradient with respect to `student` is zero in updates that do not train it.

  Args:
    student_fn: makes the student's film of a batch's prompts (self_forcing.py).
    fake_fn: the fake score, with the signature of `models.denoiser`'s film_fn.
    real_fn: the real score, likewise.
    diffusion: how times are drawn.
    guidance: w of the real score, in the convention u + w (c - u).
    negative_text_WD: encoded prompt of its negative branch.
    every: number of updates of the fake score to one of the student.
    adversary: eq. (13), against the films of the batch; None: there is none.
  """

  def draw(key, films):
    """Draws the times and the noise with which a score reads `films`."""
    for_times, for_noise = jax.random.split(key)
    t_BNF = timesteps.film_times(for_times, films.shape_BNF, diffusion)
    noise = jax.random.normal(for_noise, films.clean_BNFYXC.shape, jnp.float32)
    return jnp.clip(t_BNF, *_CLAMP), noise

  def student_loss(film, films, others, key):
    """L_student of `film`; the networks `others` are constants."""
    for_draw, for_routing = jax.random.split(key)
    films = films.replace(clean_BNFYXC=film)
    t_BNF, noise = draw(for_draw, films)
    constant = jax.lax.stop_gradient(films)
    x_t = flow.noised(constant.clean_BNFYXC, noise, t_BNF)
    fake = guidance_lib.conditional(fake_fn, constant, for_routing)
    real = guidance_lib.guided(
      real_fn, constant, for_routing, negative_text_WD, guidance
    )
    g = _gradient(
      constant,
      flow.x0_of_velocity(x_t, fake(others['fake'], x_t, t_BNF), t_BNF),
      flow.x0_of_velocity(x_t, real(others['real'], x_t, t_BNF), t_BNF),
      per_chunk=diffusion.time_per == 'chunk',
    )
    loss = films.mean(0.5 * jnp.square(film - (constant.clean_BNFYXC - g)))
    if adversary is None:
      return loss
    return loss + adversary.student_loss(
      others['fake'], others['head'], films, t_BNF, noise, for_routing
    )

  def loss_fn(params, batch, key, given):
    for_film, for_student, for_fake, for_head = jax.random.split(key, 4)
    film, of = student_fn(params['student'], batch, for_film)
    real = guidance_lib.films(of, film.shape[2])
    own = real.replace(clean_BNFYXC=jax.lax.stop_gradient(film))
    others = jax.lax.stop_gradient({**params, 'real': given['real']})
    # The cotangent of the film is computed apart from the student's graph, so
    # that updates which do not train the student need neither the scores nor a
    # replay of its passes.
    turn = given['step'] % every == 0
    value, cotangent = jax.lax.cond(
      turn,
      lambda x: jax.value_and_grad(student_loss)(x, own, others, for_student),
      lambda x: (jnp.float32(0), jnp.zeros_like(x)),
      own.clean_BNFYXC,
    )
    fake = velocity_loss(fake_fn, params['fake'], own, diffusion, for_fake)
    # its value is 0, its gradient is that of L_student
    pulled = ((film - own.clean_BNFYXC) * cotangent).sum()
    loss = value + pulled + fake
    metrics = {'student': jnp.where(turn, value, jnp.nan), 'fake': fake}
    if adversary is not None:
      for_draw, for_routing = jax.random.split(for_head)
      head = adversary.head_loss(
        params['fake'],
        params['head'],
        (real, own),
        *draw(for_draw, own),
        for_routing,
      )
      loss, metrics = loss + head, metrics | {'head': head}
    return loss, metrics | {'loss': loss}

  return loss_fn


def _gradient(films: Films, x_fake, x_real, *, per_chunk: bool) -> jax.Array:
  """g of eq. (12)."""
  distance = jnp.abs(films.clean_BNFYXC - x_real)
  distance_BN = distance.mean(range(2, distance.ndim))
  if not per_chunk:
    real_B1 = jnp.maximum(films.mask_BN.sum(-1, keepdims=True), 1)
    weight_BN = films.mask_BN / real_B1
    distance_B1 = (distance_BN * weight_BN).sum(-1, keepdims=True)
    distance_BN = jnp.broadcast_to(distance_B1, distance_BN.shape)
  distance = jnp.expand_dims(distance_BN, range(2, distance.ndim))
  return (x_fake - x_real) / jnp.maximum(distance, 1e-6)
