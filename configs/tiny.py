"""The smallest model that has every part: for tests, seconds on a CPU."""

from ml_collections import ConfigDict

from configs import story


def get_config() -> ConfigDict:
  config = story.get_config()
  config.name = 'tiny'
  config.codec.width = 16
  config.codec.blocks = 1
  config.text.words = 8
  config.text.features = 16
  config.dit.layers = 2
  config.dit.positions = (0, 0)  # tests have frames of any size
  config.dit.heads = 2
  config.dit.head_features = 16
  config.dit.mlp_features = 64
  config.dit.time_features = 32
  config.memory.window_frames = 6
  config.memory.routed_frames = 2
  config.memory.bank_frames = 16
  config.rollout.steps = 2
  config.data.chunks = 3
  config.stage.codec.steps = 4
  config.stage.codec.batch = 2
  config.stage.base.steps = 4
  config.stage.base.batch = 2
  config.stage.base_bidirectional.steps = 4
  config.stage.base_bidirectional.batch = 2
  return config
