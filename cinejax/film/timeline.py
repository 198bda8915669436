"""Converts between pixel frames, latent frames, chunks and seconds.

A causal video codec of temporal stride s encodes the first pixel frame alone
and every s later ones as one latent frame (Wan 2.1, arXiv 2503.20314, section
4.1); a chunk is F latent frames that are denoised together. For pixel frame f,
latent frame l and chunk c, all counted from 0:

  l(f) = ceil(f / s)                      the latent frame that holds f  (1)
  f(l) = max(0, s (l - 1) + 1)            the first pixel frame of l     (2)
  c(l) = floor(l / F)                                                    (3)
  n chunks are s (n F - 1) + 1 pixel frames                              (4)

So with s = 4, F = 3, n chunks are 12 n - 3 frames and chunk c > 0 starts at
frame 12 c - 3; with s = 1 a latent frame is a pixel frame.
"""

import dataclasses


def whole_chunks(secs: float, chunk_secs: float) -> int:
  """The number of chunks nearest to `secs`, at least one."""
  return max(1, round(secs / chunk_secs))


@dataclasses.dataclass(frozen=True)
class Timeline:
  """How the time of a film is divided; every count starts from 0."""

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
    """The number of chunks nearest to `secs`, at least one."""
    return whole_chunks(secs, self.chunk_secs)

  def pixel_frames(self, n_chunks: int) -> int:
    """The pixel frames of a film of `n_chunks`, eq. (4); 0 if it has none."""
    return self.latent_start_pixel(n_chunks * self.frames_per_chunk)

  def whole_chunks_in(self, pixel_frames: int) -> int:
    """The most chunks that a film of `pixel_frames` fills."""
    latents = (pixel_frames - 1) // self.stride + 1
    return self.chunk_of_latent(latents)

  def latent_of_pixel(self, pixel: int) -> int:
    """The latent frame that holds a pixel frame, eq. (1)."""
    return -(-pixel // self.stride)

  def latent_start_pixel(self, latent: int) -> int:
    """The first pixel frame of a latent frame, eq. (2)."""
    return max(0, self.stride * (latent - 1) + 1)

  def chunk_of_latent(self, latent: int) -> int:
    """The chunk of a latent frame, eq. (3)."""
    return latent // self.frames_per_chunk

  def chunk_of_pixel(self, pixel: int) -> int:
    """The chunk of a pixel frame."""
    return self.chunk_of_latent(self.latent_of_pixel(pixel))

  def chunk_start_pixel(self, chunk: int) -> int:
    """The first pixel frame of a chunk."""
    return self.latent_start_pixel(chunk * self.frames_per_chunk)

  def nearest_chunk(self, pixel: int) -> int:
    """The chunk whose start is nearest to `pixel`; the earlier of two."""
    chunk = self.chunk_of_pixel(pixel)
    before = pixel - self.chunk_start_pixel(chunk)
    after = self.chunk_start_pixel(chunk + 1) - pixel
    return chunk if before <= after else chunk + 1

  def shot_chunks(self, pixel_frames: int, opens: bool) -> int:
    """The most chunks that a shot of `pixel_frames` fills.

    `opens`: the shot opens its film, so that its first pixel frame is a latent
    frame of its own.
    """
    if opens:
      return self.whole_chunks_in(pixel_frames)
    return pixel_frames // self.chunk_pixels

  def shot_pixels(self, chunks: int, opens: bool) -> int:
    """Pixel frames of a shot of whole chunks; `opens` as in `shot_chunks`."""
    return self.pixel_frames(chunks) if opens else chunks * self.chunk_pixels
