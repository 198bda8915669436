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
  archive: str = one_of('none', 'host')
  archive_frames: int = positive()  # A, where there is an archive
  evict: str = one_of('oldest', 'redundant', 'unused', 'merge')
  scope: str = one_of('layer', 'shared', 'head')
  route_layer: int = non_negative()  # when shared
  reroute: str = one_of('step', 'chunk')
  cfg_routing: str = one_of('conditional', 'own')
  dtype: str = one_of(*STORAGES)
  training: str = one_of('routed', 'full')
  reencode: bool

  @property
  def held_frames(self) -> int:
    """Frames that are not forgotten: E, or E + A with an archive."""
    return self.bank_frames + self.archived_frames

  @property
  def archived_frames(self) -> int:
    """Slots in host memory: A, or 0 without an archive."""
    return 0 if self.archive == 'none' else self.archive_frames

  def conflict(self, at: str) -> str:
    """Says what an archive does not go with; '' if all is well."""
    if self.archive == 'none':
      return ''
    if self.policy == 'full':
      return (
        f'{at}.policy is full, which reads all frames in every pass; an '
        f'archive needs another policy, or set {at}.archive=none'
      )
    if self.evict == 'merge':
      return (
        f'{at}.evict is merge, which changes frames instead of moving them; an '
        f'archive needs another rule, or set {at}.archive=none'
      )
    if self.scope == 'head':
      return (
        f'{at}.scope is head, with which every head reads other frames; an '
        f'archive needs layer or shared, or set {at}.archive=none'
      )
    if self.reencode:
      return (
        f'{at}.reencode runs the window again from an empty bank; set '
        f'{at}.archive=none with it'
      )
    return ''

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
