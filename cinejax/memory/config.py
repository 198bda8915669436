"""Settings of the memory of a film; configs/base.py explains them."""

import dataclasses

from cinejax.core.config import non_negative, one_of, positive

POLICIES = (
  'camr',
  'window',
  'sink',
  'shot_sink',
  'uniform',
  'random',
  'rag',
  'full',
)
# how keys and values are stored: as computed, or in 8 or 4 bits
STORAGES = ('compute', 'int8', 'fp8', 'int4')
# policies of which some frames are read in every chunk; these are not evicted
SINKS = ('sink', 'shot_sink', 'rag')


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
  policy: str = one_of(*POLICIES)
  window_frames: int = positive()  # V, a multiple of F
  routed_frames: int = non_negative()  # R
  bank_frames: int = positive()  # E >= V + R + F
  evict: str = one_of('oldest', 'redundant', 'unused', 'merge')
  scope: str = one_of('layer', 'shared', 'head')
  route_layer: int = non_negative()  # when shared
  reroute: str = one_of('step', 'chunk')
  cfg_routing: str = one_of('conditional', 'own')
  dtype: str = one_of(*STORAGES)
  training: str = one_of('routed', 'full')
  reencode: bool

  @property
  def context_frames(self) -> int:
    """Frames read outside the window: R, or all of the bank when `full`."""
    if self.policy == 'full':
      return self.bank_frames - self.window_frames
    return self.routed_frames

  @property
  def by_head(self) -> bool:
    """Whether heads choose apart: other policies than camr choose by time."""
    return (
      self.scope == 'head' and self.policy == 'camr' and self.routed_frames > 0
    )

  def choices(self, heads: int) -> int:
    """Frames that a layer of so many heads chooses for a chunk.

    They are the R of `context_frames`, or R for each head.
    """
    return self.context_frames * (heads if self.by_head else 1)
