"""Distribution matching distillation of a student that forces itself.

The student's own film x, noised to x_t, is read by two scores: the real one,
the teacher, and the fake one, which keeps learning what the student makes.

  g = (x_fake(x_t) - x_real(x_t)) / mean|x - x_real(x_t)|
  L_student = 1/2 || x - sg(x - g) ||^2                                    (12)
  L_fake = teacher forcing on sg(x)

x_real is guided, t is clamped to [.02, .98], and the mean is over all that
shares one t: a chunk, or with `diffusion.time_per` = film a film. Scores are
causal, clean half = sg(x), or bidirectional. The fake score learns at every
update, the student at every fifth; both read the same film. (Yin et al. 2024;
Self Forcing, section 3.3.)

Parameters are a dict: `student`, `fake` and, with an adversary, `head`.
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
  """-> loss_fn(params, batch, key, given) -> (loss, metrics).

  Args:
    student_fn: of `self_forcing`: the student's film of a batch's prompts.
    fake_fn, real_fn: scores, of the signature of `models.denoiser`'s film_fn.
    diffusion: how times are drawn.
    guidance: w of the real score, in the convention u + w (c - u).
    negative_text_WD: what its other branch reads.
    every: updates of the fake score to one of the student.
    adversary: of eq. (13), against the films of the batch; None = none.

  `given` holds the network `real` and `step`, updates done. The gradient
  with respect to `student` is zero in updates that are not its turn.
  """

  def draw(key, films):
    """Times and noise of films on their way to a score."""
    for_times, for_noise = jax.random.split(key)
    t_BNF = timesteps.film_times(for_times, films.shape_BNF, diffusion)
    noise = jax.random.normal(for_noise, films.clean_BNFYXC.shape, jnp.float32)
    return jnp.clip(t_BNF, *_CLAMP), noise

  def student_loss(film, films, others, key):
    """Of the film `film`; the networks `others` are constants."""
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
    made = real.replace(clean_BNFYXC=jax.lax.stop_gradient(film))
    others = jax.lax.stop_gradient({**params, 'real': given['real']})
    # The film's cotangent is worked out apart from the student's graph, so
    # that an update that is not its turn costs neither scores nor a replay.
    turn = given['step'] % every == 0
    value, cotangent = jax.lax.cond(
      turn,
      lambda x: jax.value_and_grad(student_loss)(x, made, others, for_student),
      lambda x: (jnp.float32(0), jnp.zeros_like(x)),
      made.clean_BNFYXC,
    )
    fake = velocity_loss(fake_fn, params['fake'], made, diffusion, for_fake)
    pulled = ((film - made.clean_BNFYXC) * cotangent).sum()  # 0, with gradient
    loss = value + pulled + fake
    metrics = {'student': jnp.where(turn, value, jnp.nan), 'fake': fake}
    if adversary is not None:
      for_draw, for_routing = jax.random.split(for_head)
      head = adversary.head_loss(
        params['fake'],
        params['head'],
        (real, made),
        *draw(for_draw, made),
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
