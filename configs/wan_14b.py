"""Wan 2.1 14B at 832x480, as CausalCine (2605.12496): 14B throughout.

That paper reports one time for a whole film in the base, 100,000 films of
about 15 s, 64 GPUs with FSDP and sequence parallelism, four steps in chunks of
three latents. Rates and schedules are not reported: they are those of
configs/wan_1_3b.py, whose runbook holds here, without its flags for another
real score. A group of 8 devices shares the tokens and heads of a film
(config.mesh.sequence) and computes one film at a time: 64 films an update are
accumulate=8 on 64 devices, 64 / groups on others.

  hf download Wan-AI/Wan2.1-T2V-14B --local-dir=wan14b
  python -m cinejax.train --config=configs/wan_14b.py --workdir=runs/base \\
    --config.data.films=films --config.text.folder=wan14b \\
    --config.train.codec_weights=wan14b --config.train.base_weights=wan14b \\
    --config.stage.base.accumulate=8
  python -m cinejax.train --config=configs/wan_14b.py:four \\
    --workdir=runs/four --config.data.films=films \\
    --config.text.folder=wan14b \\
    --config.train.base_weights=runs/base/base.safetensors \\
    --config.train.base_bidirectional_weights=wan14b \\
    --config.stage.init.accumulate=8 --config.stage.dmd.accumulate=8

  python -m cinejax.direct --config=configs/wan_14b.py:four \\
    --weights=runs/four --config.train.codec_weights=wan14b \\
    --config.text.folder=wan14b --screenplay=screenplays/demo.json \\
    --out=runs/film --platform=gpu

Whether it fits is compiled before anything is rented (docs/pods.md):

  python -m cinejax.plan --config=configs/wan_14b.py --stage=base \\
    --topology=h100:1x8x8 --config.stage.base.accumulate=8

A bank of 64 latents is 82 GB (bfloat16), 42 GB with
--config.memory.dtype=int8.
"""

from ml_collections import ConfigDict

from configs import wan_1_3b


def get_config(variant: str = '') -> ConfigDict:
  """`variant` as in configs/wan_1_3b.py."""
  config = wan_1_3b.get_config(variant)
  config.name = 'wan_14b'
  config.dit.layers = 40
  config.dit.heads = 40
  config.dit.mlp_features = 13824
  config.diffusion.time_per = 'film'
  config.dmd.real_layers = 0  # the student's sizes
  config.dmd.real_heads = 0
  config.dmd.real_mlp_features = 0
  config.dmd.gan_layers = (17, 27, 39)
  config.mesh.sequence = 8
  return config
