"""The traffic between a device and the host memory that archives frames."""

import jax

from cinejax.config import Config
from cinejax.directing.rollout_programs import first_state
from cinejax.rollout import host_leaves


def archive_traffic(cfg: Config) -> dict[str, int]:
  """The archive of one film: its frames, and bytes; {} without one.

  frames  A
  host    keys and values in host memory
  out     what each chunk moves there
  in_max  the most that a chunk reads from there: the routed frames of every
          layer and pass, as if all of them were archived
  """
  memory, rollout = cfg.memory, cfg.rollout
  if not memory.archived_frames:
    return {}
  state = jax.eval_shape(
    lambda: first_state(cfg, jax.random.split(jax.random.key(0), 1))
  )
  found = host_leaves.archived(state)
  host = sum(x.size * x.dtype.itemsize for x in found)
  frame = host // (memory.archived_frames + 1)
  passes = max(rollout.steps, rollout.first_steps)
  passes += rollout.commit == 'separate'
  return {
    'frames': memory.archived_frames,
    'host': host,
    'out': cfg.film.frames_per_chunk * frame,
    'in_max': passes * memory.routed_frames * frame,
  }


def sentence(traffic: dict[str, int]) -> str:
  """What `archive_traffic` returned, in words."""
  frames, *sizes = traffic.values()
  host, out, most = (f'{size / 2**30:.2f} GiB' for size in sizes)
  return (
    f'archive: {frames} frames in {host} of host memory; a chunk moves {out} '
    f'there and reads at most {most}'
  )
