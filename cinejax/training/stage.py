"""The interface of a stage of training.

The trainer gets from a stage a program with data and weights; `cinejax.plan`
and `cinejax.bench` get the same program as shapes, the shapes of its batches
and the work of an update. Each stage is declared in the file that builds it,
and listed in `stages.STAGES`.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cinejax.config import Config
from cinejax.models.text.select import Text
from cinejax.training.config import StageConfig
from cinejax.training.films import check_films
from cinejax.training.program import Program

Shapes = dict[str, jax.ShapeDtypeStruct]


def film_example(cfg: Config) -> Shapes:
  """The arrays of one latent film in a batch, as data/pipeline.py makes them.

  Films that are painted while a base trains are described as latent films too.
  """
  chunks = cfg.data.chunks
  frames = (chunks * cfg.film.frames_per_chunk, *cfg.frame_shape)
  text = (chunks, cfg.text.rows, cfg.text.features)
  return {
    'latents': jax.ShapeDtypeStruct(frames, jnp.float32),
    'text': jax.ShapeDtypeStruct(text, jnp.float32),
    'mask': jax.ShapeDtypeStruct((chunks,), jnp.float32),
    'shots': jax.ShapeDtypeStruct((chunks,), jnp.int32),
  }


def film_tokens(cfg: Config) -> int:
  """The tokens of one film of config.data.chunks chunks."""
  rows, columns = (
    size // patch
    for size, patch in zip(cfg.frame_shape[:2], cfg.dit.patch[1:], strict=True)
  )
  return cfg.data.chunks * cfg.film.frames_per_chunk * rows * columns


class Repeats(NamedTuple):
  """How often parts of an update run, where shapes do not tell.

  Both are means over updates, and arguments of `core.flops.count`.
  """

  often: float = 1.0  # share of updates with the expensive side of a branch
  trips: float = 1.0  # iterations of a loop without a static length


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage of training.

  Attributes:
    name: config.stage.NAME holds its settings, and NAME.safetensors in the
      working directory the weights that it trains.
    consumes: cfg -> names of the stages whose weights it reads.
    describe: (cfg, text encoder) -> its program without data and weights, which
      can be compiled and counted but not run.
    build: (cfg, workdir) -> its program with data and weights.
    weights_key: the key of config.train with further weights that it reads
      where the key is set; '' = none.
    check_data: raises UserError if the data that a cfg names are not there.
    example: cfg -> the arrays of one example of a batch.
    example_tokens: cfg -> the tokens of one example; 0 if it has none.
    copies: cfg -> the noisy copies of an example that an update trains on.
    repeats: cfg -> how often parts of an update run.
    length_varies: whether the length of an update is random, so that its
      operations cannot be compared with its time.
    savings: cfg -> changes of the config, for users to read, that make the
      program of this stage smaller.
  """

  name: str
  consumes: Callable[[Config], tuple[str, ...]]
  describe: Callable[[Config, Text], Program]
  build: Callable[[Config, pathlib.Path], Program]
  weights_key: str = ''
  check_data: Callable[[Config], object] = check_films
  example: Callable[[Config], Shapes] = film_example
  example_tokens: Callable[[Config], int] = film_tokens
  copies: Callable[[Config], int] = lambda cfg: 1
  repeats: Callable[[Config], Repeats] = lambda cfg: Repeats()
  length_varies: bool = False
  savings: Callable[[Config], tuple[str, ...]] = lambda cfg: ()

  @property
  def file_name(self) -> str:
    """The name of its weights file."""
    return f'{self.name}.safetensors'

  def settings(self, cfg: Config) -> StageConfig:
    """The settings of this stage, config.stage.NAME."""
    return getattr(cfg.stage, self.name)

  def make_batch(self, cfg: Config) -> Shapes:
    """The arrays of one batch, over all devices."""
    batch = self.settings(cfg).batch
    return {
      name: jax.ShapeDtypeStruct((batch, *x.shape), x.dtype)
      for name, x in self.example(cfg).items()
    }

  def count_tokens(self, cfg: Config) -> int:
    """The tokens of the films of one batch; 0 if they have none."""
    return self.settings(cfg).batch * self.example_tokens(cfg)
