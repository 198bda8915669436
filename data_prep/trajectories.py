"""Makes a data set of a teacher's trajectories, for ODE distillation.

  python -m data_prep.trajectories --config=configs/story.py \\
    --config.data.films=runs/story/films --config.init.guidance=6 \\
    --weights=runs/story --out=runs/story/trajectories [--films=N]

For each film the data set holds its prompts, the clean past that a student will
see, the states of the teacher's ODE at the four times of the student, and its
end, all in float16: six times the bytes of the film. With
`--config.init.teacher=bidirectional`, which needs `--config.init.method=ode`,
the teacher is bidirectional, and the past is the film that it generates itself
(equations in cinejax/objectives/causal_ode.py). The noise of a film depends
only on config.seed and on the number of the film.

A rerun keeps the parts that exist. Machine i of n adds --shard=i --shards=n and
may write to the same folder. On several devices config.mesh divides the batch
and the teacher. Only one batch of trajectories is in memory at a time.
"""

import functools
import math
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh

from cinejax import command
from cinejax.config import Config
from cinejax.core.random import key_from_seed
from cinejax.core.sharding import (
  batch_sharding,
  make_mesh,
  param_shardings,
  with_shardings,
)
from cinejax.data.pipeline import fit_film
from cinejax.data.sources import LatentFilm, LatentFilms, TrajectoryFilm
from cinejax.interop.archive import locate
from cinejax.interop.weights import load_params
from cinejax.models.text.select import Text
from cinejax.objectives.causal_ode import STUDENT_STEPS
from cinejax.training.base_stage import BASES
from cinejax.training.films import captions, latent_films
from cinejax.training.initialisation import (
  INIT,
  teacher_trajectories,
  trajectory_settings,
)
from cinejax.training.planned import check_mesh
from cinejax.training.program import init_dit
from cinejax.training.steps import place
from data_prep import films as films_lib
from data_prep import remake
from data_prep.encode import fingerprint

# films of data.chunks chunks -> the same with trajectories
Teach = Callable[[Sequence[LatentFilm]], list[TrajectoryFilm]]
_PART_BYTES = 2**28


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string(
    'weights',
    None,
    "The teacher's: a file, or the folder of a run.",
    required=True,
  )
  remake.define_flags()


def main() -> None:
  args, cfg, shard = flags.FLAGS, command.config(), remake.shard()
  source, mesh = latent_films(cfg), make_mesh(cfg.mesh)
  check_mesh(INIT.name, cfg, mesh)
  weights = locate(args.weights, BASES[cfg.init.teacher].name)
  count = min(args.films or len(source), len(source))
  films_lib.record_settings(args.out, _settings(cfg, weights, count))
  with jax.set_mesh(mesh):
    teach = make_teach(cfg, weights, mesh)
    write_parts(cfg, source, count, teach, args.out, shard)
  print(f'trajectories of {count} films in {args.out}')


def write_parts(
  cfg: Config,
  source: LatentFilms,
  count: int,
  teach: Teach,
  out: str,
  shard: tuple[int, int] = (0, 1),
) -> None:
  """Writes a data set of films with trajectories; see remake.write_parts."""
  remake.write_parts(
    out,
    source,
    count,
    teach,
    batch=INIT.settings(cfg).batch,
    part_films=part_films(cfg),
    frame_shape=cfg.frame_shape,
    shard=shard,
    points=STUDENT_STEPS,
  )


def part_films(cfg: Config) -> int:
  """Films of a part: whole batches with about _PART_BYTES in all."""
  batch = cfg.stage.init.batch
  frames = cfg.data.chunks * cfg.film.frames_per_chunk
  numbers = frames * math.prod(cfg.frame_shape) * (STUDENT_STEPS + 2)
  return batch * max(1, _PART_BYTES // (2 * numbers * batch))


def make_teach(cfg: Config, weights: pathlib.Path, mesh: Mesh) -> Teach:
  """A function that adds a teacher's trajectories to films.

  Call this, and the function that it returns, within `jax.set_mesh(mesh)`.
  Raises UserError if the weights cannot be read.
  """
  text = captions(cfg)
  integrate = teacher_trajectories(cfg, text)
  shapes = jax.eval_shape(init_dit(cfg.dit), jax.random.key(0))
  params = load_params(
    weights,
    with_shardings(shapes, param_shardings(shapes, mesh)),
  )

  @jax.jit
  def integrated(params, batch):
    key = key_from_seed(cfg.seed)
    shape = batch['latents'].shape[1:]

    def noise_of(number_2):
      own = functools.reduce(jax.random.fold_in, number_2, key)
      return jax.random.normal(own, shape)

    noise = jax.vmap(noise_of)(batch['number'])
    result = integrate(params, batch, noise, key)
    names = ('latents', 'points', 'end')
    return {name: result[name].astype(jnp.float16) for name in names}

  def teach(group: Sequence[LatentFilm]) -> list[TrajectoryFilm]:
    short = cfg.stage.init.batch - len(group)
    rows = [_row(cfg, text, film) for film in [*group, *group[-1:] * short]]
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    result = jax.device_get(
      integrated(params, place(batch, batch_sharding(mesh)))
    )
    return [
      _film(cfg, film, {name: array[i] for name, array in result.items()})
      for i, film in enumerate(group)
    ]

  return teach


def _row(cfg: Config, text: Text, film: LatentFilm) -> dict[str, np.ndarray]:
  row = fit_film(film, text.encode, cfg.data.chunks, cfg.film.frames_per_chunk)
  # Film numbers of clips have up to 48 bits (data_prep/clips.py).
  return row | {'number': np.array(divmod(film.film, 2**32), np.uint32)}


def _film(
  cfg: Config, film: LatentFilm, result: dict[str, np.ndarray]
) -> TrajectoryFilm:
  """`film` with its trajectory, shortened to data.chunks, without padding."""
  chunks = min(cfg.data.chunks, len(film.prompts))
  frames = chunks * cfg.film.frames_per_chunk
  return TrajectoryFilm(
    latents=result['latents'][:frames],
    prompts=film.prompts[:chunks],
    cuts=film.cuts[:chunks],
    shots=film.shots[:chunks],
    film=film.film,
    points=result['points'][:frames],
    end=result['end'][:frames],
  )


def _settings(
  cfg: Config, weights: pathlib.Path, count: int
) -> dict[str, object]:
  return trajectory_settings(cfg) | {
    'source': 'trajectories',
    'of': cfg.data.films,
    'films': count,
    'chunks': cfg.data.chunks,
    'seed': cfg.seed,
    'batch': cfg.stage.init.batch,  # parts hold whole batches
    'teacher_weights': fingerprint(weights),
  }


if __name__ == '__main__':
  define_flags()
  command.run(main)
