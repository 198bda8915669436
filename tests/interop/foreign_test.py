"""Networks that are no DiT of Wan 2.1 are named for what they are."""

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.interop import foreign, sizes, views
from cinejax.interop.archive import Archive

SMALL = np.zeros(2, np.float32)


@pytest.mark.parametrize(
  ('name', 'sentence'),
  [
    ('vace_blocks.0.before_proj.weight', 'a VACE network'),
    ('vace_patch_embedding.weight', 'a VACE network'),
    ('control_adapter.conv.weight', 'a Fun-Control network'),
    ('face_adapter.fuser_blocks.0.q_norm.weight', 'audio, faces or poses'),
    ('img_emb.proj.0.bias', 'an image-to-video network.*--image'),
    ('txt_in.individual_token_refiner.blocks.0.x', 'HunyuanVideo'),
    ('context_embedder.token_refiner.x', 'HunyuanVideo'),
    ('double_blocks.0.img_mod.lin.weight', 'Flux'),
    ('patchify_proj.weight', 'LTX-Video'),
    ('patch_embed.proj.weight', 'CogVideoX'),
    ('input_blocks.0.0.weight', 'Stable Diffusion'),
    ('encoder.block.0.layer.0.x', r'a text encoder.*config\.text\.folder'),
    ('token_embedding.weight', 'a text encoder'),
    ('decoder.conv1.weight', r'autoencoder.*config\.train\.codec_weights'),
    ('visual.conv1.weight', 'images'),
    ('blocks.0.self_attn.q.lora_A.weight', 'a LoRA or.*--lora'),
    ('lora_unet_blocks_0_self_attn_q.lora_down.weight', 'a LoRA or'),
    ('blocks.0.self_attn.q.lokr_w1', 'a LoRA or'),
  ],
)
def test_a_name_tells_the_network(name, sentence):
  with pytest.raises(UserError, match=sentence):
    views.to_leaves({name: SMALL, 'other': SMALL}, 'wan', _shapes())


@pytest.mark.parametrize(
  ('shape', 'sentence'),
  [
    ((3072, 48, 1, 2, 2), 'Wan 2.2 5B'),
    ((5120, 36, 1, 2, 2), r'image-to-video .*14B.* 36 channels'),
    ((1536, 32, 1, 2, 2), r'control network of Wan \(1.3B\)'),
  ],
)
def test_channels_tell_the_network(shape, sentence):
  patch = np.broadcast_to(np.float32(0), shape)
  tensors = {'patch_embedding.weight': patch, 'head.head.bias': SMALL}
  with pytest.raises(UserError, match=sentence):
    views.to_leaves(tensors, 'wan', _shapes())


def test_what_fits_is_not_asked():
  tensors = {k: np.zeros(s, np.float32) for k, s in _wan().items()}
  assert not foreign.describe(tensors)
  views.to_leaves(tensors, 'wan', _shapes())


def _wan():
  shapes = {
    'patch_embedding.weight': (8, 16, 1, 2, 2),
    'patch_embedding.bias': (8,),
    'head.modulation': (1, 2, 8),
    'blocks.0.modulation': (1, 6, 8),
    'time_projection.1': (48, 8),
    'head.head': (64, 8),
    'blocks.0.ffn.0': (16, 8),
    'blocks.0.ffn.2': (8, 16),
  }
  layers = ('text_embedding.0', 'text_embedding.2')
  layers += ('time_embedding.0', 'time_embedding.2')
  for attention in ('self_attn', 'cross_attn'):
    layers += tuple(f'blocks.0.{attention}.{part}' for part in 'qkvo')
    for norm in ('norm_q', 'norm_k'):
      shapes[f'blocks.0.{attention}.{norm}.weight'] = (8,)
  for layer in layers:
    shapes[layer] = (8, 8)
  for part in ('weight', 'bias'):
    shapes[f'blocks.0.norm3.{part}'] = (8,)
  found = {}
  for name, shape in shapes.items():
    if name.endswith(('weight', 'bias', 'modulation')):
      found[name] = shape
    else:
      found |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}
  return found


def _shapes():
  tensors = {k: np.zeros(s, np.float32) for k, s in _wan().items()}
  archive = Archive('wan', tensors, {})
  return sizes.leaf_shapes(sizes.read_sizes(archive, 'wan'))
