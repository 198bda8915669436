"""Supervises hidden features of a base, beside its loss (REPA).

The features of a frame are the attention values of its noisy tokens in a chosen
layer, averaged over the tokens and normalised. Small heads read them:

  L_labels   = mean_kind  -log softmax(W_kind h)[label]                     (1)
  L_features = -cos(W_2 silu(W_1 h), z)                                     (2)

(1) is for story films, whose labels are known: who is seen, with which hue,
shape and pattern, where, and in which quarter of a gait. (2) is for films whose
frames have features z of a frozen image encoder (data_prep/features.py; Yu et
al. 2024, eq. (8), with one vector for each frame instead of one for each
patch). The loss is

  L = L_velocity + weight mean_layers L_labels or L_features                (3)

A layer's values are computed from what the layers before it return, so its head
teaches those layers and the projection of its own values, and the layers above
are free to use what is there. The heads are trained with the base and do not
ship.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.objectives.config import AlignmentConfig
from cinejax.objectives.guidance import Films

Batch = dict[str, jax.Array]
Heads = dict[str, dict[str, dict[str, jax.Array]]]
# (params of the base, batch, key) -> (loss, (value_LBSFD, films))
PassFn = Callable[[Any, Batch, jax.Array], tuple[jax.Array, tuple[Any, Films]]]


def init_heads(
  cfg: AlignmentConfig, kinds: Mapping[str, int], width: int, key: jax.Array
) -> Heads:
  """New heads, one or several of each layer.

  Args:
    cfg: the target and the layers.
    kinds: the number of classes of each kind of label; unused by the target
      `features`.
    width: D.
    key: draws the weights.
  """
  if cfg.target == 'features':
    sizes = {'project_1': (width, width), 'project_2': (width, cfg.features)}
  else:
    sizes = {kind: (width, count) for kind, count in kinds.items()}
  init = jax.nn.initializers.xavier_uniform()
  keys = iter(jax.random.split(key, len(cfg.layers) * len(sizes)))
  return {
    f'layer_{layer}': {
      name: {
        'kernel': init(next(keys), size, jnp.float32),
        'bias': jnp.zeros(size[1]),
      }
      for name, size in sizes.items()
    }
    for layer in cfg.layers
  }


def make_aligned_loss(
  pass_fn: PassFn, cfg: AlignmentConfig, kinds: Mapping[str, int]
) -> Callable[
  [Any, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Batch]
]:
  """Makes loss_fn(params, batch, key, given) -> (loss, metrics), eq. (3).

  `params` has the networks `dit` and `heads`; `given` has `step`, the number of
  updates done. The batch is that of the base with `labels`, int32
  [B, N F, kinds], -1 where a frame has none, or `features` [B, N F, A], 0 where
  a frame has none.

  Args:
    pass_fn: the loss of the base, with the values of cfg.layers.
    cfg: weight, target and layers.
    kinds: as in `init_heads`, in the order of the batch.
  """

  def loss_fn(params, batch, key, given):
    velocity, (value_LBSFD, films) = pass_fn(params['dit'], batch, key)
    of_layer = _label_loss if cfg.target == 'labels' else _feature_loss
    losses = [
      of_layer(params['heads'][f'layer_{layer}'], x, films, batch)
      for layer, x in zip(cfg.layers, value_LBSFD, strict=True)
    ]
    return added(cfg, velocity, losses, given['step'])

  def _label_loss(heads, value_BSFD, films, batch):
    labels = batch['labels']
    return sum(
      label_loss(heads[kind], value_BSFD, labels[..., index], films)
      for index, kind in enumerate(kinds)
    ) / len(kinds)

  def _feature_loss(heads, value_BSFD, films, batch):
    target_BSFA = _by_chunk(batch['features'], value_BSFD)
    y = _dense(heads['project_1'], _normed(value_BSFD))
    y = _dense(heads['project_2'], jax.nn.silu(y))
    return films.mean(-(_unit(y) * _unit(target_BSFA)).sum(-1))

  return loss_fn


def label_loss(
  head: Mapping[str, jax.Array],
  value_BSFD: jax.Array,
  label_BE: jax.Array,
  films: Films,
) -> jax.Array:
  """-log softmax(W h)[label], averaged over valid frames: a term of eq. (1).

  Args:
    head: of one kind of label in one layer, from `init_heads`.
    value_BSFD: values of whole copies of the film, averaged over tokens.
    label_BE: int32, of each of the E = N F frames; -1 without a label.
    films: the batch.
  """
  logs_BSFK = jax.nn.log_softmax(_dense(head, _normed(value_BSFD)))
  label_BSF = _by_chunk(label_BE, value_BSFD)
  target_BSFK = jax.nn.one_hot(label_BSF, logs_BSFK.shape[-1])  # 0 without
  return films.mean(-(target_BSFK * logs_BSFK).sum(-1))


def added(
  cfg: AlignmentConfig, velocity: jax.Array, losses: list[jax.Array], step: int
) -> tuple[jax.Array, Batch]:
  """(loss, metrics) of eq. (3): the mean of the layers' losses is added.

  Args:
    cfg: the weight, and the last update in which it acts.
    velocity: the loss of the base.
    losses: of each layer.
    step: the number of updates done.
  """
  alignment = sum(losses) / len(losses)
  acts = not cfg.last_update or step < cfg.last_update
  loss = velocity + jnp.where(acts, cfg.weight * alignment, 0.0)
  return loss, {
    'loss': loss,
    'velocity_loss': velocity,
    'alignment': alignment,
  }


def _by_chunk(x: jax.Array, like_BSFD: jax.Array) -> jax.Array:
  """[B, N F, ...] -> [B, S, F, ...], the same for each copy of the film."""
  batch, segments, frames = like_BSFD.shape[:3]
  x = x.reshape(batch, -1, frames, *x.shape[2:])
  return jnp.tile(x, (1, segments // x.shape[1]) + (1,) * (x.ndim - 2))


def _dense(head: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
  bias = head['bias'].reshape((1,) * (x.ndim - 1) + (-1,))
  return x @ head['kernel'] + bias


def _normed(x: jax.Array) -> jax.Array:
  """Layer norm without parameters, float32."""
  x = x.astype(jnp.float32)
  return jax.nn.standardize(x, -1, epsilon=1e-6)


def _unit(x: jax.Array) -> jax.Array:
  """Vectors of length 1; those of length 0 stay 0."""
  square = jnp.square(x).sum(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
