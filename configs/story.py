"""The story world: every claim of cinejax, measured on a laptop.

Runbook:
  python data_prep/story.py ...        (see BUILD.md)
  python -m cinejax.train --config=configs/story.py --workdir=runs/story
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.name = 'story'
  config.film.fps = 8
  config.film.height = 64
  config.film.width = 64
  config.dit.compute_dtype = 'float32'
  config.dit.positions = (4, 4)  # worlds are small: where is what matters
  config.diffusion.shift = 3.0  # of 64 latent cells; 5 is for thousands
  config.stage.base.optimizer = 'muon'
  config.stage.base.learning_rate = 5e-3
  return config
