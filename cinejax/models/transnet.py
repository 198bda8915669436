"""TransNet V2, a network that detects shot changes (arXiv 2008.04838).

It is Tomas Soucek's (github.com/soCzech/TransNetV2, MIT; no code is copied). It
maps windows of uint8 frames of 27 x 48 pixels to a logit for each frame, which
is high on the last frame before a cut and throughout a gradual transition:

    b_d(x) = conv_t^d(conv_yx(x)),  d in 1, 2, 4, 8, side by side          (1)
    cell(x) = norm([b_1 b_2 b_4 b_8](x))                                   (2)
    stack(x) = pool(h + relu(cell(h))),  h = relu(cell(x))                 (3)

There are three stacks, with 16, 32 and 64 features in each branch. The output
of the last one is joined by the similarities u_t . u_{t+k}, |k| <= 50 (zero
outside the window), where u are vectors of unit length: projected means of the
stacks' outputs, and colour histograms. norm is BatchNorm as applied after
training: a scale and a shift of features.

In names, D stands for the features of an array and K for the offsets k.
"""

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

HEIGHT, WIDTH = 27, 48  # pixels of its input frames
WINDOW = 100  # frames of a window
_FEATURES = (16, 32, 64)  # of one branch, in each stack
_DILATIONS = (1, 2, 4, 8)  # frames
_REACH = 50  # frames on each side with which a frame is compared
_BINS = 8  # of each colour in a histogram


class TransNet(nn.Module):
  """uint8 video_BTYXC -> logits [B, T]; T is at most WINDOW."""

  @nn.compact
  def __call__(self, video_BTYXC: jax.Array) -> jax.Array:
    chex.assert_shape(video_BTYXC, (None, None, HEIGHT, WIDTH, 3))
    chex.assert_type(video_BTYXC, jnp.uint8)
    x_BTYXD = video_BTYXC.astype(jnp.float32) / 255.0
    means = []
    for index, features in enumerate(_FEATURES):
      x_BTYXD = Stack(features, name=f'SDDCNN.{index}')(x_BTYXD)
      means.append(x_BTYXD.mean((2, 3)))
    seen_BTD = nn.Dense(128, name='frame_sim_layer.projection')(
      jnp.concatenate(means, -1)
    )
    views = (
      _compare('color_hist_layer.fc', _histograms(video_BTYXC)),
      _compare('frame_sim_layer.fc', seen_BTD),
      x_BTYXD.reshape(*x_BTYXD.shape[:2], -1),
    )
    h_BTD = nn.relu(nn.Dense(1024, name='fc1')(jnp.concatenate(views, -1)))
    return nn.Dense(1, name='cls_layer1')(h_BTD)[..., 0]


class Stack(nn.Module):
  """Eq. (3); halves the rows and columns, rounded down."""

  features: int

  @nn.compact
  def __call__(self, x_BTYXD: jax.Array) -> jax.Array:
    h_BTYXD = nn.relu(Cell(self.features, name='DDCNN.0')(x_BTYXD))
    h_BTYXD += nn.relu(Cell(self.features, name='DDCNN.1')(h_BTYXD))
    return nn.avg_pool(h_BTYXD, (1, 2, 2), (1, 2, 2))


class Cell(nn.Module):
  """Eqs. (1) and (2)."""

  features: int

  @nn.compact
  def __call__(self, x_BTYXD: jax.Array) -> jax.Array:
    branches = []
    for frames in _DILATIONS:
      name = f'Conv3D_{frames}.layers'
      h_BTYXD = nn.Conv(
        2 * self.features, (3, 3), use_bias=False, name=f'{name}.0'
      )(x_BTYXD)
      branches.append(
        Temporal(self.features, frames, name=f'{name}.1')(h_BTYXD)
      )
    x_BTYXD = jnp.concatenate(branches, -1)
    shape = x_BTYXD.shape[-1:]
    scale_D = self.param('bn.scale', nn.initializers.ones, shape)
    shift_D = self.param('bn.shift', nn.initializers.zeros, shape)
    scale_BTYXD, shift_BTYXD = (
      x_D[None, None, None, None] for x_D in (scale_D, shift_D)
    )
    return x_BTYXD * scale_BTYXD + shift_BTYXD


class Temporal(nn.Module):
  """A convolution over three frames, `dilation` apart.

  It is computed as three products, because XLA's dilated convolution takes 20
  times as long on CPUs.
  """

  features: int
  dilation: int

  @nn.compact
  def __call__(self, x_BTYXD: jax.Array) -> jax.Array:
    shape = (3, x_BTYXD.shape[-1], self.features)
    kernels = self.param('kernel', nn.initializers.lecun_normal(), shape)
    frames, reach = x_BTYXD.shape[1], self.dilation
    sides = [(0, 0)] * x_BTYXD.ndim
    sides[1] = (reach, reach)
    padded = jnp.pad(x_BTYXD, sides)
    return sum(
      padded[:, i * reach : i * reach + frames] @ kernel
      for i, kernel in enumerate(kernels)
    )


def _compare(name: str, x_BTD: jax.Array) -> jax.Array:
  """Features [B, T, 128] of the similarities of neighbouring frames."""
  norm_BT1 = jnp.linalg.norm(x_BTD, axis=-1, keepdims=True)
  unit_BTD = x_BTD / jnp.maximum(norm_BT1, 1e-12)
  like_BTS = jnp.einsum('btd,bsd->bts', unit_BTD, unit_BTD, precision='highest')
  like_BTS = jnp.pad(like_BTS, ((0, 0), (0, 0), (_REACH, _REACH)))
  frame_T1 = jnp.arange(like_BTS.shape[1])[:, None]
  at_TK = frame_T1 + jnp.arange(2 * _REACH + 1)[None]
  near_BTK = jnp.take_along_axis(like_BTS, at_TK[None], axis=2)
  return nn.relu(nn.Dense(128, name=name)(near_BTK))


def _histograms(video_BTYXC: jax.Array) -> jax.Array:
  """Colour histograms [B, T, 512] of the frames, in numbers of pixels."""
  level_BTYXC = (video_BTYXC // (256 // _BINS)).astype(jnp.int32)
  weight_C = jnp.asarray([_BINS**2, _BINS, 1])
  bin_BTYX = level_BTYXC @ weight_C
  one_hot = jax.nn.one_hot(bin_BTYX, _BINS**3, dtype=jnp.float32)
  return one_hot.sum((2, 3))
