"""The DiT in a rollout: one pass over a chunk and a memory bank.

A chunk takes several passes, which read the same captions and the same window.
captions.py and make_context_fn compute what they share.
"""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.memory.config import MemoryConfig
from cinejax.models import mixing
from cinejax.models.arrangement import are_halved, are_quantized, of_layer
from cinejax.models.bank_mixing import BankMixer
from cinejax.models.config import DiTConfig
from cinejax.models.denoiser import context_fields, token_grid
from cinejax.models.dit import DiT

Contexts = tuple[mixing.Context, ...]  # of each layer


@chex.dataclass(frozen=True, mappable_dataclass=False)
class DenoiserOutput:
  """The result of one pass over a bank."""

  velocity_BFYXC: jax.Array  # of the last segment, float32
  key_LBSTHK: jax.Array  # new keys of every segment, not rotated
  value_LBSTHK: jax.Array  # new values of every segment
  rank_LBSR: jax.Array  # int32, routed frames by their rank in the pass's view
  contexts: Contexts | None = None  # what each layer read, if it was given one


def _mixer(cfg, memory, params, x_BSFYXC) -> BankMixer:
  grid = dataclasses.replace(
    token_grid(cfg, x_BSFYXC),
    halves=are_halved(params),
    precision='fp8' if are_quantized(params) else 'compute',
    in_parts=isinstance(params['blocks'], tuple),  # never differentiated
  )
  return BankMixer(grid, **context_fields(memory))


def make_denoise_fn(
  cfg: DiTConfig, memory: MemoryConfig
) -> Callable[..., DenoiserOutput]:
  """Makes one pass of a rollout.

  fn(params, x_BSFYXC, t_BSF, text, bank, view, given_LBSR=None, decide=True,
  contexts=None) -> DenoiserOutput, where

    S         1: a chunk; 2: [clean i | noisy i+1], the commit of one chunk and
              the first step of the next
    text      captions of the segments [B, S, W, D], or what was read of them
    bank      the memory that is read; leaves have a leading L
    view      the frames of the bank that each segment may read
    given     ranks to take where `decide` is False; None: always decide
    contexts  of another pass over the same chunk (make_context_fn); their
              window is read, and their arrays are used again
  """

  def denoise_fn(
    params,
    x_BSFYXC,
    t_BSF,
    text,
    bank: bank_lib.Memory,
    view: router.View,
    given_LBSR: jax.Array | None = None,
    decide: jax.Array | bool = True,
    contexts: Contexts | None = None,
  ) -> DenoiserOutput:
    mixer = _mixer(cfg, memory, params, x_BSFYXC)
    layers = mixing.LayerMemory(
      index=jnp.arange(cfg.layers),
      memory=bank.replace(archive=None),  # no layer may copy its part of it
      given_BSR=given_LBSR,
    )
    if contexts is not None:
      layers = tuple(
        of_layer(layers, i).replace(context=context)
        for i, context in enumerate(contexts)
      )
    velocity, _, output = DiT(cfg, mixer, skip=x_BSFYXC.shape[1] - 1).apply(
      {'params': params},
      x_BSFYXC,
      t_BSF,
      text,
      mixing.Routing(
        view=view, decide=jnp.asarray(decide), archive=bank.archive
      ),
      layers,
      router.none_routed(view, memory.choices(cfg.heads)),
    )
    if contexts is not None:
      contexts = tuple(one.context for one in output)
      output = jax.tree.map(
        lambda *x: jnp.stack(x), *(one.replace(context=None) for one in output)
      )
    return DenoiserOutput(
      velocity_BFYXC=velocity[:, 0],
      key_LBSTHK=output.key_BSTHK,
      value_LBSTHK=output.value_BSTHK,
      rank_LBSR=output.rank_BSR,
      contexts=contexts,
    )

  return denoise_fn


def make_context_fn(
  cfg: DiTConfig, memory: MemoryConfig
) -> Callable[..., Contexts | None]:
  """Makes fn(params, x_BSFYXC, bank, view) -> what passes over a chunk share.

  These are the window's keys, rotated, and values, in arrays that also have
  place for what each pass replaces: its own frames and the routed ones. They
  take 2 L B (F + V + R) P D numbers. None unless layers have leaves of their
  own: a scan over layers would copy each array in every pass.
  """

  def context_fn(params, x_BSFYXC, bank: bank_lib.Memory, view: router.View):
    if not isinstance(params['blocks'], tuple):
      return None
    mixer = _mixer(cfg, memory, params, x_BSFYXC)
    dtype = jnp.dtype(cfg.compute_dtype)
    bank = bank.replace(archive=None)  # the window is on the device
    return tuple(
      mixer.with_window(of_layer(bank, layer), view, dtype)
      for layer in range(cfg.layers)
    )

  return context_fn
