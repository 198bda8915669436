"""The config of evaluations of tiny networks."""

from cinejax.config import Config, resolve
from configs import tiny


def make_cfg(**changes: object) -> Config:
  """Two films a batch, one step a chunk; `changes` by their keys."""
  config = tiny.get_config()
  config.eval.batch = 2
  config.rollout.steps = 1
  config.rollout.commit = 'fused'
  config.update_from_flattened_dict(changes)
  return resolve(config)
