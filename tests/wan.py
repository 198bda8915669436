"""Wan's configs, and a text encoder without weights, for the tests of Wan."""

import dataclasses
import functools
import importlib

import jax
import numpy as np

from cinejax.config import resolve
from cinejax.models import denoiser

NAMES = ('wan_1_3b', 'wan_5b', 'wan_14b')
MODELS = ('Wan2.1-T2V-1.3B', 'Wan2.2-TI2V-5B', 'Wan2.1-T2V-14B')


def load(name, variant='', **changes):
  config = importlib.import_module(f'configs.{name}').get_config(variant)
  config.lock().update_from_flattened_dict(changes)
  return resolve(config)


def params_of(dit):
  init = functools.partial(denoiser.init_params, dit)
  return jax.eval_shape(init, jax.random.key(0))


def zero_text(cfg):
  return Text(np.zeros((1, cfg.text.words, cfg.text.features), np.float32))


@dataclasses.dataclass(frozen=True)
class Text:
  words: np.ndarray

  def encode(self, prompts):
    return np.repeat(self.words, len(prompts), 0)
