"""Measures the film of a screenplay while its frames arrive.

No frame is kept in memory, except that cut detectors keep small ones. Frames of
the size of story films go to a temporary file and are read back when the film
is complete: this takes long, and must not count as generation.
"""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from cinejax.evaluation.metrics import cuts, prompts, recall
from cinejax.film.sheet import Row
from cinejax.story import read_back, world

_READ_BACK = ('place', 'size', 'action', 'recall', 'segments')


class FilmMeasurement(contextlib.AbstractContextManager):
  """The figures of one film; leaving the context removes its file."""

  def __init__(self):
    self._detector = cuts.ContentDetector()
    self._file = tempfile.TemporaryFile()
    self._frames, self._is_story_size = 0, False

  def __exit__(self, *_: object) -> None:
    self._file.close()

  @property
  def frames(self) -> int:
    """How many frames the film has so far."""
    return self._frames

  def add_frame(self, frame_YXC: np.ndarray) -> None:
    """Processes the next frame of the film, uint8 RGB."""
    self._detector.add_frame(frame_YXC)
    self._is_story_size = frame_YXC.shape[:2] == (world.HEIGHT, world.WIDTH)
    if self._is_story_size:
      self._file.write(frame_YXC.tobytes())
    self._frames += 1

  def figures(self, rows: Sequence[Row]) -> dict[str, object]:
    """The figures that are measured from pixels; undefined ones are None.

    Args:
      rows: the segments of the film, which is complete.
    """
    figures = dict(prompts.cut_metrics(self._detector.cuts(), rows))
    figures |= dict.fromkeys(_READ_BACK)
    if not self._is_story_size:
      return figures
    self._file.flush()
    shape = (self._frames, world.HEIGHT, world.WIDTH, 3)
    video_TYXC = np.memmap(self._file, np.uint8, 'r', shape=shape)
    if prompts.is_readable(video_TYXC, rows):
      readings = read_back.read_frames(video_TYXC)
      pairs = [
        recall.film_recall_pair(readings, rows, *shots)
        for shots in recall.return_shots(rows)
      ]
      figures |= prompts.prompt_metrics(readings, rows)
      figures |= {
        'recall': recall.recall(pairs),
        'segments': prompts.describe_segments(readings, rows),
      }
    return figures


def summary_line(figures: Mapping[str, object]) -> str:
  """The figures of a report that are defined, on one line."""
  parts = []
  if 'frames' in figures:
    parts.append(f'{figures["frames"]} frames in {figures["shots"]} shots')
  for name in ('sca', 'place', 'size', 'action', 'recall', 'pixel_fps'):
    if figures.get(name) is not None:
      parts.append(f'{name} {figures[name]:.3g}')
  return ', '.join(parts)
