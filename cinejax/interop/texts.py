"""Text encoders with their weights, from folders as they are published.

UMT5 is read from Wan's file or from one that transformers wrote:

    Wan                        transformers
    token_embedding            shared
    blocks.N.norm1             encoder.block.N.layer.0.layer_norm
    blocks.N.attn.q            encoder.block.N.layer.0.SelfAttention.q
    blocks.N.pos_embedding     …SelfAttention.relative_attention_bias
    blocks.N.norm2             encoder.block.N.layer.1.layer_norm
    blocks.N.ffn.gate.0        …layer.1.DenseReluDense.wi_0
    blocks.N.ffn.fc1, fc2      …layer.1.DenseReluDense.wi_1, wo
    norm                       encoder.final_layer_norm
"""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from cinejax.core import tree as tree_lib
from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh, param_shardings
from cinejax.interop.archive import Archive, find_archive, open_archive
from cinejax.interop.mapped import place
from cinejax.interop.views import LeafView, check
from cinejax.models.config import TextConfig
from cinejax.models.text import umt5
from cinejax.models.text.prompts import Tokens
from cinejax.models.text.select import Text, make_text

_WEIGHTS = (
  *('models_t5_umt5-xxl-enc-bf16', 'text_encoder/model', 'model'),
  'text_encoder/diffusion_pytorch_model',
)
_TOKENIZERS = ('google/umt5-xxl', 'tokenizer', '.')
_ATTENTION = 'encoder.block.{}.layer.0.'
_MLP = 'encoder.block.{}.layer.1.'


class Rule(NamedTuple):
  """A leaf of our UMT5 and its names; `{}` stands for the number of a layer."""

  ours: str
  wan: str
  transformers: str
  transposed: bool = True


RULES = (
  Rule('embedding', 'token_embedding.weight', 'shared.weight', False),
  Rule(
    'final_norm/scale',
    'norm.weight',
    'encoder.final_layer_norm.weight',
    False,
  ),
  Rule(
    'blocks/distance',
    'blocks.{}.pos_embedding.embedding.weight',
    f'{_ATTENTION}SelfAttention.relative_attention_bias.weight',
    False,
  ),
  *(
    Rule(
      f'blocks/{ours}_norm/scale',
      f'blocks.{{}}.{wan}.weight',
      f'{theirs}layer_norm.weight',
      False,
    )
    for ours, wan, theirs in (
      ('attention', 'norm1', _ATTENTION),
      ('mlp', 'norm2', _MLP),
    )
  ),
  *(
    Rule(
      f'blocks/{ours}/kernel',
      f'blocks.{{}}.attn.{theirs}.weight',
      f'{_ATTENTION}SelfAttention.{theirs}.weight',
    )
    for ours, theirs in zip(
      ('query', 'key', 'value', 'out'), 'qkvo', strict=True
    )
  ),
  *(
    Rule(
      f'blocks/{ours}/kernel',
      f'blocks.{{}}.ffn.{wan}.weight',
      f'{_MLP}DenseReluDense.{theirs}.weight',
    )
    for ours, wan, theirs in (
      ('mlp_gate', 'gate.0', 'wi_0'),
      ('mlp_in', 'fc1', 'wi_1'),
      ('mlp_out', 'fc2', 'wo'),
    )
  ),
)


@functools.lru_cache(maxsize=1)  # directors of one config share a large one
def load_text(cfg: TextConfig, mesh: Mesh | None = None) -> Text:
  """The encoder of `cfg`, with its files from config.text.folder.

  UMT5 is split over `mesh`; without one it is on the first device. Give a mesh
  only if prompts are encoded in the thread that runs all other programs:
  programs over several devices that two threads start can deadlock. Raises
  UserError if a file is missing or does not fit.
  """
  if cfg.name != 'umt5':
    return make_text(cfg)
  if not cfg.folder:
    raise UserError(
      'config.text.folder is empty; umt5 needs the folder of its weights and '
      'its tokenizer: that of Wan-AI/Wan2.1-T2V-1.3B has both'
    )
  folder = pathlib.Path(cfg.folder)
  tokens = Tokens(_tokenizer(folder), cfg.words)
  mesh = mesh or _one_device()
  file = find_archive(folder, *_WEIGHTS)
  if file is None:
    raise UserError(
      f'there is no {_WEIGHTS[0]}.pth in {folder}; `hf download '
      f'Wan-AI/Wan2.1-T2V-1.3B --local-dir={folder}` fetches it, and '
      'config.text.folder names another folder'
    )
  try:
    sizes, params = read_umt5(open_archive(file), mesh)
  except UserError as error:
    raise UserError(f'{file}: {error}') from error
  if sizes.features != cfg.features:
    raise UserError(
      f'config.text.features is {cfg.features}; {file} has {sizes.features}'
    )
  encode_fn = make_encode_fn(sizes, params, tokens, mesh)
  return make_text(cfg, encode_fn, tokens.count)


def make_encode_fn(
  sizes: umt5.Sizes, params: Any, tokens: Tokens, mesh: Mesh
) -> Callable[[str], np.ndarray]:
  """Makes encode_fn(prompt) -> float32 [w, D], with a row for each token.

  It runs on `mesh`, where `params` are, whichever mesh is in use.
  """
  encoder = umt5.Encoder(sizes)
  apply = jax.jit(encoder.apply)

  def encode_fn(prompt: str) -> np.ndarray:
    ids_1W, mask_1W = tokens([prompt])
    with jax.set_mesh(mesh):
      hidden_1WD = apply({'params': params}, ids_1W, mask_1W)
    return np.asarray(hidden_1WD)[0, : mask_1W.sum()].astype(np.float32)

  return encode_fn


def read_umt5(
  archive: Archive, mesh: Mesh | None = None
) -> tuple[umt5.Sizes, dict[str, Any]]:
  """Sizes and parameters, in their stored types.

  Each parameter is put on its devices when it is read: over `mesh`, or on the
  first device. Raises UserError, which lists missing, extra and misshapen
  tensors.
  """
  # the same as `shared`; some files have both
  tensors = {
    name: x
    for name, x in archive.tensors.items()
    if name != 'encoder.embed_tokens.weight'
  }
  names = {
    rule.ours: rule.wan if 'norm.weight' in tensors else rule.transformers
    for rule in RULES
  }
  sizes = _sizes(tensors, names)
  shapes = umt5.shapes(sizes)
  like = tree_lib.paths(shapes)
  check(tensors, dict(_their_shapes(names, like)))
  places = tree_lib.paths(param_shardings(shapes, mesh or _one_device()))
  leaves = {}
  for rule in RULES:
    name = names[rule.ours]
    stacked = '{}' in name
    parts = (
      tensors[name.format(layer)]
      for layer in range(sizes.layers if stacked else 1)
    )
    how = 'transposed' if rule.transposed else 'same'
    leaf = LeafView(tuple(parts), how, stacked)
    leaves[rule.ours] = place(leaf, leaf.dtype, places[rule.ours])
  return sizes, tree_lib.nested(leaves)


def _one_device() -> Mesh:
  return make_mesh(MeshConfig(1, 1, 1, 1), jax.local_devices()[:1])


def _tokenizer(folder: pathlib.Path) -> pathlib.Path:
  found = [folder / name for name in _TOKENIZERS]
  return next((x for x in found if (x / 'tokenizer.json').is_file()), found[0])


def _sizes(tensors: Mapping[str, Any], names: Mapping[str, str]) -> umt5.Sizes:
  def shape(ours: str) -> tuple[int, ...]:
    name = names[ours].format(0)
    if name not in tensors:
      raise UserError(f'it is no encoder of UMT5: it has no {name}')
    return tensors[name].shape

  layers = 0
  while names['blocks/query/kernel'].format(layers) in tensors:
    layers += 1
  tokens, features = shape('embedding')
  buckets, heads = shape('blocks/distance')
  inner, _ = shape('blocks/query/kernel')
  return umt5.Sizes(
    tokens=tokens,
    layers=layers,
    heads=heads,
    head_features=inner // heads,
    features=features,
    mlp_features=shape('blocks/mlp_in/kernel')[0],
    buckets=buckets,
  )


def _their_shapes(names, like):
  for rule in RULES:
    name, shape = names[rule.ours], like[rule.ours].shape
    stacked = '{}' in name
    shape = shape[stacked:]
    for layer in range(like[rule.ours].shape[0] if stacked else 1):
      yield name.format(layer), shape[::-1] if rule.transposed else shape
