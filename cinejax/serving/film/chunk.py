"""A chunk of a live film: what its generation needs, and what it gives."""

import dataclasses
import logging
from typing import Any, NamedTuple

import numpy as np

from cinejax.directing.director import Director
from cinejax.directing.memory_reads import (
  ChunkReads,
  RoutedFrame,
  picture_shares,
  routed_frames,
)
from cinejax.film.journal import ChunkPrompt
from cinejax.film.media import encode_frame
from cinejax.rollout.state import RolloutState
from cinejax.serving.film.slots import SlotInput, SlotOutput
from cinejax.serving.film.thumbnails import thumbnail


class ChunkRequest(NamedTuple):
  """What the generation of a chunk needs."""

  slot_input: SlotInput
  prompt: ChunkPrompt
  chunk: int
  decoder: Any  # the state of the decoder
  # Whether the chunk is stored already, and only the state after it is wanted.
  replay: bool = False


@dataclasses.dataclass(frozen=True)
class FinishedChunk:
  """A generated and decoded chunk."""

  chunk: int
  prompt: ChunkPrompt
  latents_FYXC: np.ndarray
  video_TYXC: np.ndarray  # uint8
  thumbnails: tuple[bytes, ...]  # a JPEG of each latent frame
  stills: tuple[bytes, ...]  # a JPEG of each pixel frame
  routed_frames: tuple[RoutedFrame, ...]  # the most read ones, in time order
  window: tuple[int, int]  # latent frames [start, stop) of the recent window
  state: RolloutState
  decoder: Any

  @property
  def reads(self) -> ChunkReads:
    """What the memory read for the chunk."""
    return ChunkReads(self.chunk, self.window, self.routed_frames)

  def compare(self, stored_FYXC: np.ndarray) -> None:
    """Warns if the chunk differs from the one that is stored already."""
    if not np.array_equal(self.latents_FYXC.astype(np.float32), stored_FYXC):
      logging.warning('chunk %d differs when it is generated again', self.chunk)

  def to_json(self) -> dict[str, Any]:
    """What viewers see of the chunk beside its frames."""
    return {
      'chunk': self.chunk,
      'frames': len(self.video_TYXC),
      'prompt': self.prompt.prompt,
      'shot': self.prompt.shot,
      'cut': self.prompt.cut,
      'segment': self.prompt.segment,
      'routed_frames': [
        [routed.frame, round(routed.share, 4)]
        for routed in self.routed_frames
        if routed.frame >= 0
      ],
      'pictures': [
        [number, round(share, 4)]
        for number, share in picture_shares(
          self.routed_frames, len(self.latents_FYXC)
        ).items()
      ],
      'window': list(self.window),
    }


def decode_output(
  director: Director, request: ChunkRequest, output: SlotOutput
) -> FinishedChunk:
  """Decodes the output of a slot and fetches it to the host.

  Raises FloatingPointError if the latents are not finite.
  """
  # A copy: a view would keep the device's array as long as the film lives.
  z_FYXC = np.array(output.chunk.latents_BFYXC)[0]
  if not np.isfinite(z_FYXC).all():
    raise FloatingPointError('the model generated a chunk that is not finite')
  decoded, decoder = director.decode_fn(
    director.codec_params,
    output.chunk.latents_BFYXC,
    request.decoder,
    first=request.chunk == 0,
  )
  video_TYXC = np.asarray(decoded)[0]
  cfg, first_pixel = director.cfg, director.timeline.latent_start_pixel
  count = cfg.film.frames_per_chunk
  start = request.chunk * count
  return FinishedChunk(
    chunk=request.chunk,
    prompt=request.prompt,
    latents_FYXC=z_FYXC,
    video_TYXC=video_TYXC,
    thumbnails=tuple(
      thumbnail(video_TYXC[first_pixel(start + n) - first_pixel(start)])
      for n in range(count)
    ),
    # A chunk that is replayed has its pictures already.
    stills=() if request.replay else tuple(map(encode_frame, video_TYXC)),
    routed_frames=routed_frames(output.chunk.frame_JLBR),
    window=(max(0, start - cfg.memory.window_frames), start),
    state=output.state,
    decoder=decoder,
  )
