"""How much memory and disk a server may need, known before any session.

  film    = chunks (latents + F thumbnails + stills), on disk              (1)
  session = state (kept_states + 2) + viewers (lead_chunks + 2) frames     (2)
  all     = sessions · session + 2 slots · state + 3 film                  (3)

where `frames` are the pixel frames of a chunk, and `stills` the same as JPEG,
which is assumed to take at most a byte for each pixel (film/spool.py).
A state consists of the memory of a film and the state of its decoder; it may be
copied once more while it is saved. One film at a time is read to be saved,
which takes its size twice, and one to be downloaded. Weights, compiled programs
and their workspace are not included.
"""

import contextlib
import ctypes
import hashlib
from typing import NamedTuple

import jax
import numpy as np

from cinejax.core import tree
from cinejax.directing.director import Director
from cinejax.serving.film.host_state import host_bytes
from cinejax.serving.film.thumbnails import MAX_BYTES

_M_ARENA_MAX = -8  # of glibc's malloc.h


class MemoryBudget(NamedTuple):
  """Upper bounds in bytes."""

  state: int  # of a film
  film: int  # eq. (1)
  session: int  # eq. (2)
  all: int  # eq. (3)

  def sentence(self, sessions: int) -> str:
    """The budget of `sessions`, for the log of the server."""
    return (
      f'at most {sessions} sessions of {self.session / 1e6:.0f} MB, '
      f'{self.all / 1e9:.2f} GB in all, beside the weights; '
      f'{self.film / 1e9:.2f} GB on disk for each film without other takes'
    )


def memory_budget(director: Director) -> MemoryBudget:
  """The budget of a server with the config and model of `director`."""
  cfg, shape = director.cfg.serving, director.latent_shape
  begin = jax.eval_shape(lambda: director.begin([0]))
  params = director.codec_params
  decoder = jax.eval_shape(
    lambda: director.codec.init_decode(params, (1, *shape[1:]))
  )
  state = host_bytes(begin) + host_bytes(decoder)
  chunk = 4 * int(np.prod(shape)) + shape[0] * MAX_BYTES
  height, width = director.cfg.film.height, director.cfg.film.width
  stills = height * width * director.timeline.chunk_pixels
  film = cfg.film_chunks * (chunk + stills)
  frames = 3 * stills
  session = state * (2 + cfg.kept_states)
  session += cfg.viewers * (2 + cfg.lead_chunks) * frames
  whole = cfg.sessions * session + 2 * cfg.slots * state + 3 * film
  return MemoryBudget(state, film, session, whole)


def limit_heap_arenas() -> None:
  """Keeps the heap of a process from growing faster than its films.

  To be called before the process has threads. glibc gives every thread its own
  heap. The memory of a film would be scattered over all of them, between large
  buffers that are allocated and freed, and four times as much would never be
  returned. With other C libraries, nothing is done.
  """
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def model_name(director: Director) -> str:
  """Identifies a model by the config that shapes films, and some weights."""
  cfg = director.cfg
  parts = (cfg.film, cfg.codec, cfg.text, cfg.dit, cfg.memory, cfg.diffusion)
  digest = hashlib.sha256(repr((*parts, cfg.rollout)).encode())
  for params in (director.params, director.codec_params):
    for path, leaf in tree.paths(params).items():
      first = np.asarray(leaf.reshape(-1)[:256])
      digest.update(path.encode() + first.tobytes())
  return digest.hexdigest()
