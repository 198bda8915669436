"""Names networks that are no text-to-video DiT of Wan, or of another size.

People give what a model's page offers. Tensors' names and shapes tell which
model that is, so that a refusal can say what cinejax can do in its place.
"""

import re
from collections.abc import Mapping

from cinejax.interop.mapped import Tensor

_TEXT_ONLY = (
  'use the text-to-video network, whose films can begin with an image by '
  '--image'
)
_NO_PLACE = (
  'cinejax has no such network; give a DiT of Wan 2.1 (T2V, 1.3B or 14B) or '
  'Wan 2.2 (TI2V-5B)'
)

# each row: a pattern that a name matches, what the network is, what to do.
# Patterns of adapters come first, because their names contain those of layers.
_MODELS = (
  (
    r'\.(lora_(A|B|down|up)|hada_w1_a|lokr_w[12](_a)?|diff(_b|_m)?)(\.|$)',
    'a LoRA or another adapter',
    'give it with --lora, and the network that it was made for with --weights',
  ),
  (
    r'^vace_(blocks|patch_embedding)\.',
    'a VACE network, of Wan with controls',
    f'cinejax has no controls; {_TEXT_ONLY}',
  ),
  (
    r'^(control_adapter|ref_conv)\.',
    'a Fun-Control network, of Wan with controls',
    f'cinejax has no controls; {_TEXT_ONLY}',
  ),
  (
    r'^(face_adapter|motion_encoder|pose_patch_embedding|casual_audio_encoder'
    r'|audio_injector|audio_proj|audio_model)\.',
    'a network of Wan driven by audio, faces or poses (S2V, Animate)',
    f'cinejax has no such inputs; {_TEXT_ONLY}',
  ),
  (
    r'(^|\.)(img_emb|k_img|v_img|image_embedder|add_[kv]_proj)\.',
    'an image-to-video network',
    _TEXT_ONLY,
  ),
  (
    r'^(txt_in\.individual_token_refiner|context_embedder\.token_refiner)\.',
    'HunyuanVideo',
    _NO_PLACE,
  ),
  (r'^(double_blocks|single_transformer_blocks)\.', 'Flux', _NO_PLACE),
  (r'^(patchify_proj|adaln_single)\.', 'LTX-Video', _NO_PLACE),
  (r'^patch_embed\.(proj|text_proj)\.', 'CogVideoX', _NO_PLACE),
  (r'^x_embedder\.proj\.1\.', 'Cosmos', _NO_PLACE),
  (r'^(t_embedder|y_embedder|joint_blocks)\.', 'another DiT', _NO_PLACE),
  (
    r'^(input_blocks|down_blocks|first_stage_model)\.',
    'Stable Diffusion',
    _NO_PLACE,
  ),
  (
    r'^(shared|token_embedding|encoder\.block\.0\.layer)\.|^token_embedding$',
    'a text encoder',
    'set config.text.folder to its folder, and give the DiT with --weights',
  ),
  (
    r'^(encoder\.conv1|decoder\.conv1|decoder\.conv_in|encoder\.conv_in)\.',
    'a video autoencoder',
    'set config.train.codec_weights to it, and give the DiT with --weights',
  ),
  (r'^(visual|vision_model)\.', 'an encoder of images (CLIP)', _NO_PLACE),
)


def describe(tensors: Mapping[str, Tensor]) -> str:
  """A clause on what the network is and what to do; '' if it is not known.

  It begins with `it is`; `tensors` are by their names without prefixes.
  """
  # Hunyuan has the names of Flux too, so that rows are tried in order
  for pattern, model, remedy in _MODELS:
    for name in tensors:
      if re.search(pattern, name):
        return f'it is {model}: it has {name}; {remedy}'
  return _wan_of_other_channels(tensors)


def _wan_of_other_channels(tensors: Mapping[str, Tensor]) -> str:
  patch = tensors.get('patch_embedding.weight')
  if patch is None or len(patch.shape) != 5:
    return ''
  features, channels = patch.shape[:2]
  if channels == 48:
    return (
      f'it is Wan 2.2 5B, with latents of 48 channels: patch_embedding.weight '
      f'is {tuple(patch.shape)}; use it with --config=configs/wan_5b.py'
    )
  if channels > 16:
    size = {1536: '1.3B', 5120: '14B'}.get(features, 'another size')
    return (
      f'it is an image-to-video or control network of Wan ({size}): '
      f'patch_embedding.weight takes {channels} channels, not 16; {_TEXT_ONLY}'
    )
  return ''
