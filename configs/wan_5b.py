"""Wan 2.2 TI2V-5B at 1280x704: films of 60 latents at 24 frames per second.

Its autoencoder has 48 channels at a sixteenth of the size, so that a latent
frame has 880 tokens, about half as many as at 832x480 with Wan 2.1 (1,560).
The transformer is Wan 2.1's with other sizes. Constants of training are those
of configs/wan_1_3b.py, whose runbook holds here; there is no larger model of
these latents, and the real score is the 5B model itself. LongLive 2 (24.8
frames per second at 1280x704 on an H100) is the student to compare with.

  hf download Wan-AI/Wan2.2-TI2V-5B --local-dir=wan5b
  python -m data_prep.video --config=configs/wan_5b.py --weights=wan5b \\
    --clips=clips --out=films
  python -m data_prep.texts --config=configs/wan_5b.py --films=films \\
    --config.text.folder=wan5b

On 64 devices, 32 groups that share a film (config.mesh.sequence=2):

  python -m cinejax.train --config=configs/wan_5b.py --workdir=runs/base \\
    --config.data.films=films --config.text.folder=wan5b \\
    --config.train.codec_weights=wan5b --config.train.base_weights=wan5b \\
    --config.stage.base.accumulate=2
  python -m cinejax.train --config=configs/wan_5b.py:four \\
    --workdir=runs/four --config.data.films=films \\
    --config.text.folder=wan5b \\
    --config.train.base_weights=runs/base/base.safetensors \\
    --config.train.base_bidirectional_weights=wan5b \\
    --config.train.real_weights=wan5b \\
    --config.stage.init.accumulate=2 --config.stage.dmd.accumulate=2

A film from text, or with an opening image, as TI2V was trained: the image is
the first latent frame, whose time is 0 in every denoising step.

  python -m cinejax.direct --config=configs/wan_5b.py:four \\
    --weights=runs/four --config.train.codec_weights=wan5b \\
    --config.text.folder=wan5b --screenplay=screenplays/demo.json \\
    --image=opening.png --out=runs/film --platform=gpu

Whether it fits is compiled before anything is rented (docs/pods.md); this
rollout takes 47 GiB of the 71 of one H100, text encoder and codec included:

  python -m cinejax.plan --config=configs/wan_5b.py:four --stage=rollout \\
    --topology=h100:1x1x1 --config.mesh.sequence=1

A bank of 64 latents is 20.8 GB (bfloat16), 10.5 GB with
--config.memory.dtype=int8; with guidance there are two.
"""

from ml_collections import ConfigDict

from configs import wan_1_3b


def get_config(variant: str = '') -> ConfigDict:
  """`variant` as in configs/wan_1_3b.py."""
  config = wan_1_3b.get_config(variant)
  config.name = 'wan_5b'
  config.film.fps = 24.0
  config.film.height = 704
  config.film.width = 1280
  config.codec.name = 'wan22_vae'
  config.codec.spatial_stride = 16
  config.codec.channels = 48
  config.codec.width = 160
  config.dit.heads = 24
  config.dit.mlp_features = 14336
  config.rollout.guidance = 5.0 if config.rollout.guidance != 1 else 1.0
  config.dmd.real_layers = 0  # the student's sizes
  config.dmd.real_heads = 0
  config.dmd.real_mlp_features = 0
  config.mesh.sequence = 2
  return config
