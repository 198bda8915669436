"""The bank with which others are compared: it forgets and rounds nothing."""

import dataclasses

from cinejax.core import resources
from cinejax.directing.director import Director
from cinejax.rollout import host_leaves


def with_whole_bank(director: Director, chunks: int) -> Director:
  """The director with a bank that holds all frames, as they are computed.

  Args:
    director: of any bank.
    chunks: of the longest film.
  """
  cfg = director.cfg
  frames = chunks * cfg.film.frames_per_chunk
  memory = dataclasses.replace(
    cfg.memory,
    bank_frames=max(frames, cfg.memory.bank_frames),
    dtype='compute',
    archive='none',
  )
  return dataclasses.replace(
    director, cfg=dataclasses.replace(cfg, memory=memory)
  )


def bank_bytes(director: Director) -> int:
  """Bytes that the bank of one film takes on the device.

  That of the negative prompt counts, and an archive in host memory does not.
  """
  state = director.begin([0])
  held, archived = (state.bank, state.negative), host_leaves.archived(state)
  return resources.tree_bytes(held) - resources.tree_bytes(archived)
