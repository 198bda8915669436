"""Times a chunk of Wan 2.1 in PyTorch, as Self Forcing makes it.

  python launch/torch_wan.py --device=cuda --dtype=bfloat16

The network is WanTransformer3DModel of diffusers with random weights, and
attention is PyTorch's scaled_dot_product_attention. Each layer keeps the keys,
already rotated, and the values of the latest frames, and rolls them along by a
chunk when it is full. Every pass writes those of the chunk into the same
places, and reads all; after the denoising steps a pass at time 0 leaves those
of the clean chunk (Self Forcing, Huang et al. 2025, section 3). The keys and
values of the caption are kept as well: with --prompts=film as long as the film
lasts, with --prompts=chunk until the next chunk, which may have another prompt.
This is written from that description.

One line of JSON is printed: chunk_ms {median, min, max, n} as it is, and as
compiled_chunk_ms with torch.compile, or compile_error if that fails here;
chunk_cpu_ms and compiled_chunk_cpu_ms are times of the host's processors.
`pip install torch diffusers` is all that it needs.
"""

import argparse
import json
import platform
import statistics
import time

import diffusers
import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel

PATCH, CHANNELS, SHIFT = (1, 2, 2), 16, 5.0


class CachedAttention:
  """Self-attention to the latest frames; a processor of diffusers."""

  def __init__(self, cache_BMHK, tokens):
    self.key, self.value = cache_BMHK, cache_BMHK.clone()
    self.tokens = tokens  # of a chunk, the last ones of the cache

  def roll(self):
    """Makes place for the next chunk."""
    for x in (self.key, self.value):
      x[:, : -self.tokens] = x[:, self.tokens :].clone()

  def __call__(self, attn, x, context, mask, rotation):
    q = attn.norm_q(attn.to_q(x)).unflatten(2, (attn.heads, -1))
    k = attn.norm_k(attn.to_k(x)).unflatten(2, (attn.heads, -1))
    v = attn.to_v(x).unflatten(2, (attn.heads, -1))
    q, k = rotate(q, *rotation), rotate(k, *rotation)
    self.key[:, -self.tokens :] = k
    self.value[:, -self.tokens :] = v
    return attn.to_out[0](attention(q, self.key, self.value))


class CaptionAttention:
  """Attention to a caption, whose keys and values are kept."""

  def __init__(self):
    self.kept = None

  def __call__(self, attn, x, context, mask, rotation):
    q = attn.norm_q(attn.to_q(x)).unflatten(2, (attn.heads, -1))
    if self.kept is None:
      k = attn.norm_k(attn.to_k(context)).unflatten(2, (attn.heads, -1))
      self.kept = k, attn.to_v(context).unflatten(2, (attn.heads, -1))
    return attn.to_out[0](attention(q, *self.kept))


def attention(q, k, v):
  q, k, v = (x.transpose(1, 2) for x in (q, k, v))
  out = F.scaled_dot_product_attention(q, k, v)
  return out.transpose(1, 2).flatten(2)


def rotate(x, cos, sin):
  """Rotates neighbours, in x's type; `cos` and `sin` repeat each angle."""
  even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
  turned = torch.stack([-odd, even], -1).flatten(-2)
  return (x * cos + turned * sin).type_as(x)


class Positions(torch.nn.Module):
  """The rotation of a chunk, computed ahead, in place of the model's own."""

  def __init__(self, rope, latents, start):
    super().__init__()
    shape = (*latents.shape[:2], start + latents.shape[2], *latents.shape[3:])
    cos, sin = rope(torch.empty(shape, device='meta'))
    tokens = latents.shape[2] * latents.shape[3] * latents.shape[4] // 4
    self.rotation = cos[:, -tokens:], sin[:, -tokens:]

  def forward(self, latents):
    return self.rotation


def chunk(model, passes, captions, text, latents):
  """A chunk from noise: a pass for each step, and one at time 0.

  `captions` are those that read the prompt again.
  """
  for attention_of in passes:
    attention_of.roll()
  for caption in captions:
    caption.kept = None
  steps = [(1 - i / 4) for i in range(4)]
  sigmas = [SHIFT * s / (1 + (SHIFT - 1) * s) for s in steps]
  x = latents
  for i, sigma in enumerate(sigmas):
    t = torch.full((1,), 1000 * sigma, device=x.device)
    velocity = model(x, t, text, return_dict=False)[0]
    clean = x - sigma * velocity
    if i + 1 < len(sigmas):
      noise = torch.randn_like(x)
      x = (1 - sigmas[i + 1]) * clean + sigmas[i + 1] * noise
      x = x.type_as(latents)
  clean = clean.type_as(latents)
  model(clean, torch.zeros(1, device=x.device), text, return_dict=False)
  return clean


def timed(name, call, repeats, device, untimed=2):
  wall, processor = [], []
  for _ in range(untimed + repeats):
    start, computed = time.perf_counter(), time.process_time()
    call()
    if device == 'cuda':
      torch.cuda.synchronize()
    wall.append(1e3 * (time.perf_counter() - start))
    processor.append(1e3 * (time.process_time() - computed))
  return {
    f'{name}_ms': spread(wall[untimed:]),
    f'{name}_cpu_ms': spread(processor[untimed:]),
  }


def spread(times):
  return {
    'median': statistics.median(times),
    'min': min(times),
    'max': max(times),
    'n': len(times),
  }


@torch.no_grad()
def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  sizes = {
    'height': (480, 'of a frame, in pixels'),
    'width': (832, 'of a frame, in pixels'),
    'layers': (30, 'of the network'),
    'heads': (12, 'of 128 features'),
    'mlp_features': (8960, 'inside a layer'),
    'words': (512, 'tokens of a caption'),
    'text_features': (4096, 'of one of them'),
    'frames': (3, 'latent frames of a chunk'),
    'context': (17, 'latent frames that a chunk reads, its own included'),
    'repeats': (10, 'timed chunks'),
  }
  for name, (default, meaning) in sizes.items():
    parser.add_argument(f'--{name}', type=int, default=default, help=meaning)
  parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
  parser.add_argument(
    '--dtype', choices=('float32', 'bfloat16'), default='float32'
  )
  parser.add_argument(
    '--prompts', choices=('film', 'chunk'), default='film', help='one for each'
  )
  args = parser.parse_args()
  torch.manual_seed(0)
  device, dtype = torch.device(args.device), getattr(torch, args.dtype)
  with device:
    model = WanTransformer3DModel(
      num_attention_heads=args.heads,
      text_dim=args.text_features,
      ffn_dim=args.mlp_features,
      num_layers=args.layers,
    )
    model = model.to(dtype).eval()
    rows, columns = args.height // 8, args.width // 8
    latents = torch.randn(1, CHANNELS, args.frames, rows, columns, dtype=dtype)
    text = torch.randn(1, args.words, args.text_features, dtype=dtype)
    tokens = args.frames * rows * columns // 4
    seen = args.context * rows * columns // 4
    passes = [
      CachedAttention(
        torch.randn(1, seen, args.heads, 128, dtype=dtype), tokens
      )
      for _ in model.blocks
    ]
  model.rope = Positions(model.rope, latents, args.context - args.frames)
  captions = [CaptionAttention() for _ in model.blocks]
  for block, own, caption in zip(model.blocks, passes, captions, strict=True):
    block.attn1.set_processor(own)
    block.attn2.set_processor(caption)
  if args.prompts == 'film':
    captions = []
  row = vars(args) | {
    'tokens': tokens,
    'context_tokens': seen,
    'torch': torch.__version__,
    'diffusers': diffusers.__version__,
    'device_name': torch.cuda.get_device_name()
    if args.device == 'cuda'
    else platform.processor() or platform.machine(),
    'threads': torch.get_num_threads(),
    **timed(
      'chunk',
      lambda: chunk(model, passes, captions, text, latents),
      args.repeats,
      args.device,
    ),
  }
  try:
    compiled = torch.compile(model)
    row |= timed(
      'compiled_chunk',
      lambda: chunk(compiled, passes, captions, text, latents),
      args.repeats,
      args.device,
    )
  except Exception as error:  # no compiler, or one that does not know this
    row['compile_error'] = str(error).split('\n')[0][:200]
  print(json.dumps(row))


if __name__ == '__main__':
  main()
