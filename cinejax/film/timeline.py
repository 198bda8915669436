"""Pixel frame <-> latent frame <-> chunk <-> shot.

A causal video codec of temporal stride s keeps the first pixel frame alone
and folds every s later ones into one latent frame (Wan 2.1, arXiv
2503.20314, section 4.1); a chunk is F latent frames that are denoised
together. For pixel frame f, latent frame l and chunk c, all from 0:

  l(f) = ceil(f / s)                      the latent frame that holds f  (1)
  f(l) = max(0, s (l - 1) + 1)            the first pixel frame of l     (2)
  c(l) = floor(l / F)                                                    (3)
  n chunks are s (n F - 1) + 1 pixel frames                              (4)

So with s = 4, F = 3, n chunks are 12 n - 3 frames and chunk c > 0 starts at
frame 12 c - 3; with s = 1 a latent frame is a pixel frame.
"""

import dataclasses
import itertools
from collections.abc import Sequence


def whole_chunks(secs: float, chunk_secs: float) -> int:
  """Chunks nearest to `secs`, at least one; one chunk is `chunk_secs` long."""
  return max(1, round(secs / chunk_secs))


@dataclasses.dataclass(frozen=True)
class Timeline:
  """How time is divided; every count starts from 0."""

  frames_per_chunk: int  # F, latent frames, >= 1
  stride: int  # s, pixel frames of a latent frame after the first, >= 1
  fps: float  # pixel frames per second

  def __post_init__(self):
    if min(self.frames_per_chunk, self.stride) < 1 or self.fps <= 0:
      raise ValueError(f'every field of {self} must be positive')

  @property
  def chunk_pixels(self) -> int:
    """Pixel frames of a chunk other than a film's first."""
    return self.frames_per_chunk * self.stride

  @property
  def chunk_secs(self) -> float:
    """Seconds of a chunk other than a film's first."""
    return self.chunk_pixels / self.fps

  def chunks_for_secs(self, secs: float) -> int:
    """Chunks nearest to `secs`, at least one."""
    return whole_chunks(secs, self.chunk_secs)

  def latent_frames(self, n_chunks: int) -> int:
    return n_chunks * self.frames_per_chunk

  def pixel_frames(self, n_chunks: int) -> int:
    """Pixel frames of a film of `n_chunks`, eq. (4); 0 for none."""
    return self.latent_start_pixel(self.latent_frames(n_chunks))

  def whole_chunks_in(self, pixel_frames: int) -> int:
    """The most chunks that a film of `pixel_frames` fills."""
    latents = (pixel_frames - 1) // self.stride + 1
    return self.chunk_of_latent(latents)

  def latent_of_pixel(self, pixel: int) -> int:
    """Eq. (1)."""
    return -(-pixel // self.stride)

  def latent_start_pixel(self, latent: int) -> int:
    """Eq. (2)."""
    return max(0, self.stride * (latent - 1) + 1)

  def chunk_of_latent(self, latent: int) -> int:
    """Eq. (3)."""
    return latent // self.frames_per_chunk

  def chunk_of_pixel(self, pixel: int) -> int:
    return self.chunk_of_latent(self.latent_of_pixel(pixel))

  def chunk_start_pixel(self, chunk: int) -> int:
    """The first pixel frame of a chunk."""
    return self.latent_start_pixel(self.latent_frames(chunk))

  def nearest_chunk(self, pixel: int) -> int:
    """The chunk whose start is nearest to `pixel`; the earlier of two."""
    chunk = self.chunk_of_pixel(pixel)
    before = pixel - self.chunk_start_pixel(chunk)
    after = self.chunk_start_pixel(chunk + 1) - pixel
    return chunk if before <= after else chunk + 1

  def snap(self, pixel: int) -> int:
    """The chunk start nearest to `pixel`: where a requested cut may fall."""
    return self.chunk_start_pixel(self.nearest_chunk(pixel))

  def cut_pixels(self, cuts: Sequence[bool]) -> tuple[int, ...]:
    """Pixel frames of the cuts flagged chunk by chunk.

    The first chunk starts the film, so its flag never is a cut.
    """
    return tuple(
      self.chunk_start_pixel(chunk)
      for chunk, cut in enumerate(cuts)
      if cut and chunk
    )

  def shot_chunks(self, lengths: Sequence[int]) -> tuple[int, ...]:
    """Whole chunks in each shot of a training film; 0 drops the shot.

    Args:
      lengths: pixel frames of each shot, in order. The first shot that fills
        a chunk opens the film, and its first frame is a latent frame alone.
    """
    chunks = []
    for length in lengths:
      opens = not any(chunks)
      chunks.append(
        self.whole_chunks_in(length) if opens else length // self.chunk_pixels
      )
    return tuple(chunks)

  def trimmed_lengths(self, lengths: Sequence[int]) -> tuple[int, ...]:
    """Pixel frames to keep of each shot, so that shots are whole chunks.

    The shots kept end at chunk ends: 1 + s (n F - 1) frames of the first,
    s n F of the later ones, 0 of a shot that does not fill one chunk.
    """
    ends = itertools.accumulate(self.shot_chunks(lengths), initial=0)
    pixels = [self.pixel_frames(end) for end in ends]
    return tuple(stop - start for start, stop in itertools.pairwise(pixels))


def shots_of_cuts(cuts: Sequence[bool]) -> tuple[int, ...]:
  """The shot of each chunk, from 0, given which chunks start with a cut."""
  shots = itertools.accumulate(int(cut) for cut in cuts[1:])
  return (0, *shots) if len(cuts) else ()
