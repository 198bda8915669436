"""Detectors of cuts, which are chosen by name.

  content           PySceneDetect's ContentDetector: the mean change of hue,
                    saturation and value from frame to frame
  transnetv2:FILE   the network of models/transnet.py with the weights of its
                    authors. Windows of 100 frames start 50 frames apart, and
                    their middle 50 frames count; the film's first and last
                    frame are repeated beyond its ends. A cut is the frame
                    after a run of probabilities above a threshold.

A detector is given one frame after the other and then returns the frames at
which new shots start. It keeps no frame at full size, so films may have any
length.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import jax
import numpy as np
import scenedetect
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.interop.transnet import load_transnet
from cinejax.models import transnet

# Frames are scaled down to about this width before they are compared.
_CONTENT_WIDTH = 256
_EDGE = 25  # frames at each end of a window that are ignored
_STEP = transnet.WINDOW - 2 * _EDGE


class Detector(Protocol):
  """Finds the cuts of one film."""

  def add_frame(self, frame_YXC: np.ndarray) -> None:
    """Processes the next frame, uint8 RGB."""
    ...

  def cuts(self) -> tuple[int, ...]:
    """The first frames of all shots but the first, so far."""
    ...


class ContentDetector:
  """PySceneDetect's detector.

  Args:
    threshold: of the mean change, of at most 255.
    min_shot_frames: the shortest shot.
  """

  def __init__(self, threshold: float = 27.0, min_shot_frames: int = 8):
    self._detector = scenedetect.ContentDetector(threshold, min_shot_frames)
    self._cuts: list[int] = []
    self._frames = 0

  def add_frame(self, frame_YXC: np.ndarray) -> None:
    # Only frame numbers are used, so the frame rate does not matter.
    time = scenedetect.FrameTimecode(self._frames, fps=25.0)
    found = self._detector.process_frame(time, _bgr(frame_YXC))
    self._cuts += [cut.frame_num for cut in found]
    self._frames += 1

  def cuts(self) -> tuple[int, ...]:
    return tuple(self._cuts)


class TransNetDetector:
  """TransNet V2 with `params`; keeps 4 KB of each frame."""

  def __init__(self, params: Any, threshold: float = 0.5):
    self._params, self._threshold = params, threshold
    self._small: list[np.ndarray] = []

  def add_frame(self, frame_YXC: np.ndarray) -> None:
    size = (transnet.WIDTH, transnet.HEIGHT)
    image = Image.fromarray(frame_YXC).resize(size, Image.Resampling.BICUBIC)
    self._small.append(np.asarray(image))

  def cuts(self) -> tuple[int, ...]:
    return ends_of_runs(self.probabilities() > self._threshold)

  def probabilities(self) -> np.ndarray:
    """The probability [T] of a transition at each frame."""
    total = len(self._small)
    if not total:
      return np.zeros(0)
    parts = []
    for start in range(-_EDGE, total - _EDGE, _STEP):
      at = np.arange(start, start + transnet.WINDOW).clip(0, total - 1)
      window_TYXC = np.stack([self._small[i] for i in at])
      logit_T = _apply(self._params, window_TYXC[None])[0]
      parts.append(np.asarray(jax.nn.sigmoid(logit_T))[_EDGE:-_EDGE])
    return np.concatenate(parts)[:total]


def make_detector_fn(spec: str) -> Callable[[], Detector]:
  """A function that makes the detector `NAME` or `NAME:FILE` for a new film.

  Raises UserError if there is no such detector, or if its weights cannot be
  read.
  """
  name, _, path = spec.partition(':')
  if spec == 'content':
    return ContentDetector
  if name != 'transnetv2' or not path:
    raise UserError(
      f'config.eval.cuts is {spec}; it must be content or transnetv2:FILE'
    )
  params = load_transnet(path)
  return lambda: TransNetDetector(params)


def detect_cuts(
  frames: Iterable[np.ndarray], detector: Detector | None = None
) -> tuple[int, ...]:
  """Pixel frames at which new shots start.

  Args:
    frames: uint8 RGB [Y, X, 3] each; a video_TYXC array or an iterator.
    detector: a new one; None = `ContentDetector()`.
  """
  detector = detector or ContentDetector()
  for frame_YXC in frames:
    detector.add_frame(frame_YXC)
  return detector.cuts()


def ends_of_runs(high_T: np.ndarray) -> tuple[int, ...]:
  """The frame after each run of True.

  A run that starts at the first frame, or reaches the last one, is left out.
  """
  ends = np.flatnonzero(high_T[:-1] & ~high_T[1:]) + 1
  return tuple(int(end) for end in ends if not high_T[:end].all())


@jax.jit
def _apply(params: Any, video_BTYXC: jax.Array) -> jax.Array:
  return transnet.TransNet().apply({'params': params}, video_BTYXC)


def _bgr(frame_YXC: np.ndarray) -> np.ndarray:
  factor = max(1, frame_YXC.shape[1] // _CONTENT_WIDTH)
  small = np.asarray(Image.fromarray(frame_YXC).reduce(factor))
  return np.ascontiguousarray(small[..., ::-1])
