"""Feature vectors of frames, by networks that are chosen by name.

  pixels          8 x 8 colours minus the frame's mean colour; no weights
  taef2:FOLDER    the latents of TAEF2, averaged over 2 x 4 parts of a frame
  dinov2:FOLDER   the class token of DINOv2, at 224 pixels (Hugging Face)
  clip:FOLDER     CLIP's image features, which can be compared with prompts

The last two are read from a local folder by `transformers` (the extra
`torch`); nothing is downloaded. Frames are resized as in VBench: the short side
to 224 pixels, bicubic. CLIP sees the middle square, DINOv2 the whole frame,
cropped to a multiple of its patch size.
"""

import dataclasses
import functools
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.models.codec.base import from_bytes
from cinejax.models.codec.taef2 import Taef2, load_taef2

FeatureFn = Callable[[np.ndarray], np.ndarray]
TextFn = Callable[[Sequence[str]], np.ndarray]

_BLOCK = 16  # frames at a time
_SIDE = 224  # pixels
_PARTS = (2, 4)  # rows and columns of TAEF2's latents that are kept
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = (
  (0.48145466, 0.4578275, 0.40821073),
  (0.26862954, 0.26130258, 0.27577711),
)


@dataclasses.dataclass(frozen=True)
class Features:
  """A feature extractor of frames, and of prompts if it embeds text."""

  name: str  # as in the names of metrics
  image_fn: FeatureFn  # uint8 video_TYXC -> [T, D]
  text_fn: TextFn | None = None  # prompts -> [N, D]; None: cannot embed text
  learnt: bool = False  # of the networks by which papers compare shots

  def of(self, video_TYXC: np.ndarray) -> np.ndarray:
    """Features [T, D] of a film of any length, in blocks of frames."""
    total, parts = len(video_TYXC), []
    for start in range(0, total, _BLOCK):
      # Blocks all have the same size, so one compiled program serves them.
      at = np.minimum(np.arange(start, start + _BLOCK), total - 1)
      parts.append(np.asarray(self.image_fn(video_TYXC[at])))
    return np.concatenate(parts)[:total]


def pixel_features(video_TYXC: np.ndarray, size: int = 8) -> np.ndarray:
  """Features [T, 3 size²]: size x size colours minus the frame's mean colour.

  A frame of a single colour has zero features, whose similarity to any other
  frame is 0.
  """
  small = np.stack(
    [
      Image.fromarray(frame).resize((size, size), Image.Resampling.BOX)
      for frame in video_TYXC
    ]
  )
  small = small.astype(np.float64)
  centred = small - small.mean((1, 2), keepdims=True)
  return centred.reshape(len(centred), -1)


PIXELS = Features('pixels', pixel_features)


def make_features(specs: Sequence[str]) -> tuple[Features, ...]:
  """Makes the feature extractors `NAME` or `NAME:FOLDER` of config.eval.

  Raises UserError for an unknown name, or if weights or the packages that read
  them are missing.
  """
  return tuple(map(_make, specs))


def _make(spec: str) -> Features:
  name, _, folder = spec.partition(':')
  if spec == 'pixels':
    return PIXELS
  makers = {'taef2': _taef2, 'dinov2': _dinov2, 'clip': _clip}
  if name not in makers or not folder:
    raise UserError(
      f'config.eval.features has {spec}; each must be pixels, taef2:FOLDER, '
      'dinov2:FOLDER or clip:FOLDER'
    )
  if not pathlib.Path(folder).is_dir():
    raise UserError(
      f'config.eval.features has {spec}; there is no folder {folder}'
    )
  return makers[name](folder)


def _taef2(folder: str) -> Features:
  params, codec = load_taef2(folder), Taef2()

  @jax.jit
  def pooled(params: Any, video_TYXC: jax.Array) -> jax.Array:
    z_FYXC = codec.encode(params, from_bytes(video_TYXC)[None])[0]
    for axis, parts in zip((1, 2), _PARTS, strict=True):
      split = jnp.array_split(z_FYXC, parts, axis)
      z_FYXC = jnp.concatenate(
        [p.mean(axis, keepdims=True) for p in split], axis
      )
    return z_FYXC.reshape(len(z_FYXC), -1)

  return Features('taef2', functools.partial(pooled, params))


def _dinov2(folder: str) -> Features:
  torch, model = _local(folder, 'Dinov2Model')
  patch = model.config.patch_size

  def image_fn(video_TYXC: np.ndarray) -> np.ndarray:
    frames = [_resized(frame) for frame in video_TYXC]
    rows, columns = (size // patch * patch for size in frames[0].shape[:2])
    frames = [_middle(frame, rows, columns) for frame in frames]
    with torch.inference_mode():
      seen = model(pixel_values=_tensor(torch, frames, _IMAGENET))
    return seen.pooler_output.numpy()

  return Features('dinov2', image_fn, learnt=True)


def _clip(folder: str) -> Features:
  torch, model = _local(folder, 'CLIPModel')
  tokenizer = _pretrained('AutoTokenizer', folder)
  words = model.config.text_config.max_position_embeddings

  def image_fn(video_TYXC: np.ndarray) -> np.ndarray:
    frames = [_middle(_resized(f), _SIDE, _SIDE) for f in video_TYXC]
    with torch.inference_mode():
      seen = model.vision_model(pixel_values=_tensor(torch, frames, _CLIP))
      return model.visual_projection(seen.pooler_output).numpy()

  def text_fn(prompts: Sequence[str]) -> np.ndarray:
    tokens = tokenizer(
      list(prompts),
      padding=True,
      truncation=True,
      max_length=words,
      return_tensors='pt',
    )
    with torch.inference_mode():
      read = model.text_model(
        input_ids=tokens['input_ids'], attention_mask=tokens['attention_mask']
      )
      return model.text_projection(read.pooler_output).numpy()

  return Features('clip', image_fn, text_fn, learnt=True)


def _local(folder: str, kind: str) -> tuple[Any, Any]:
  """PyTorch, and the model of class `kind` in `folder`, for inference."""
  model = _pretrained(kind, folder)
  import torch

  return torch, model.eval()


def _pretrained(kind: str, folder: str) -> Any:
  for package in ('torch', 'transformers'):
    if not importlib.util.find_spec(package):
      raise UserError(
        f'the features in {folder} need {package}; pip install '
        "'cinejax[torch]', or use pixels or taef2"
      )
  import transformers  # optional, as is torch

  try:
    return getattr(transformers, kind).from_pretrained(
      folder, local_files_only=True
    )
  except (OSError, ValueError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(f'{folder} holds no {kind}: {reason}') from error


def _resized(frame_YXC: np.ndarray) -> np.ndarray:
  """The frame, scaled so that its short side has `_SIDE` pixels."""
  height, width = frame_YXC.shape[:2]
  factor = _SIDE / min(height, width)
  size = (max(_SIDE, round(width * factor)), max(_SIDE, round(height * factor)))
  image = Image.fromarray(frame_YXC).resize(size, Image.Resampling.BICUBIC)
  return np.asarray(image)


def _middle(frame_YXC: np.ndarray, rows: int, columns: int) -> np.ndarray:
  top = (frame_YXC.shape[0] - rows) // 2
  left = (frame_YXC.shape[1] - columns) // 2
  return frame_YXC[top : top + rows, left : left + columns]


def _tensor(torch: Any, frames: Sequence[np.ndarray], colours: Any) -> Any:
  """Normalised float32 tensor [T, 3, Y, X], as these networks expect."""
  mean_C, std_C = np.asarray(colours, np.float32)
  pixels_TYXC = np.stack(frames).astype(np.float32) / 255
  scaled_TYXC = (pixels_TYXC - mean_C) / std_C
  return torch.from_numpy(np.moveaxis(scaled_TYXC, -1, 1).copy())
