"""What a film is remembered by."""

import dataclasses

POLICIES = (
  'camr',
  'window',
  'sink',
  'shot_sink',
  'uniform',
  'random',
  'full',
)
# which read the same frames again and again: those are not evicted
SINKS = ('sink', 'shot_sink')


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
  policy: str  # one of POLICIES
  window_frames: int  # V, a multiple of F
  routed_frames: int  # R
  bank_frames: int  # E >= V + R + F
  evict: str  # oldest | redundant | unused
  scope: str  # layer | shared
  route_layer: int  # the deciding layer when shared
  reroute: str  # step | chunk
  cfg_routing: str  # conditional | own
  dtype: str  # compute | int8
  training: str  # routed | full
  reencode: bool  # control: window recomputed from an empty bank

  @property
  def context_frames(self) -> int:
    """Frames read outside the window: R, or all of the bank when `full`."""
    if self.policy == 'full':
      return self.bank_frames - self.window_frames
    return self.routed_frames
