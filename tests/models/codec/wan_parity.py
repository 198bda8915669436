"""An autoencoder of Wan beside inputs and outputs of PyTorch's."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from cinejax.core import tree
from cinejax.interop import codecs
from cinejax.interop.archive import open_archive
from cinejax.models.codec.wan_vae import WanVae

TOLERANCE = 1e-4  # of PyTorch's, in float32; measured 2e-7 to 5e-6


class Parity:
  """`params`, and `seen`: what PyTorch reads and returns, channels last."""

  def __init__(
    self,
    codec: WanVae,
    encode: Callable,
    decode: Callable,
    path: pathlib.Path,
  ):
    archive = open_archive(path)
    self._encode, self._decode = encode, decode
    self.seen = {
      name: np.moveaxis(archive.tensors[name][:], 1, -1)
      for name in ('video', 'mean', 'latents', 'decoded')
    }
    weights = {
      name.removeprefix('w.'): x
      for name, x in archive.tensors.items()
      if name.startswith('w.')
    }
    self.params = codecs.read_wan_vae(
      codec, dataclasses.replace(archive, tensors=weights)
    )

  def error(self, half: str, params=None) -> float:
    """The largest error of `encoder` or `decoder` with these parameters."""
    params, seen = params or self.params, self.seen
    if half == 'encoder':
      return np.abs(self._encode(params, seen['video']) - seen['mean']).max()
    decoded = np.clip(self._decode(params, seen['latents']), -1, 1)
    return np.abs(decoded - seen['decoded']).max()

  def check_weights(self, half: str, step: int) -> None:
    """Asserts that a change of every step-th weight would be seen."""
    flat = tree.paths(self.params)
    for name in [name for name in flat if name.startswith(half)][::step]:
      weight = np.copy(flat[name])
      # its last number, but for what would be a variance's; no softmax sees
      # the bias of a key, which is in the middle
      weight.flat[0 if name.startswith('encoder/quant') else -1] += 0.1
      other = tree.nested(flat | {name: weight})
      assert self.error(half, other) > TOLERANCE, name
