"""What a server may come to hold, known before the first session.

  film    = chunks (latents + F thumbnails), on disk (film/spool.py)     (1)
  session = state (1 + kept + 1) + viewers (lead + 2) frames of a chunk    (2)
  all     = sessions · session + 2 slots · state + 3 film                  (3)

A state is a film's memory and its decoder's; it may be copied once more while
it is saved. One film at a time is read to be saved, which takes it twice, and
one to be downloaded. Weights, compiled programs and their workspace come on
top.
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
  state: int  # bytes
  film: int  # eq. (1)
  session: int  # eq. (2)
  all: int  # eq. (3)

  def sentence(self, sessions: int) -> str:
    return (
      f'at most {sessions} sessions of {self.session / 1e6:.0f} MB, '
      f'{self.all / 1e9:.2f} GB in all, beside the weights; '
      f'{sessions * self.film / 1e9:.2f} GB of films on disk'
    )


def memory_budget(director: Director) -> MemoryBudget:
  cfg, shape = director.cfg.serving, director.latent_shape
  begin = jax.eval_shape(lambda: director.begin([0]))
  params = director.codec_params
  decoder = jax.eval_shape(
    lambda: director.codec.init_decode(params, (1, *shape[1:]))
  )
  state = host_bytes(begin) + host_bytes(decoder)
  chunk = 4 * int(np.prod(shape)) + shape[0] * MAX_BYTES
  film = cfg.film_chunks * chunk
  height, width = director.cfg.film.height, director.cfg.film.width
  frames = 3 * height * width * director.timeline.chunk_pixels
  session = state * (2 + cfg.kept_states)
  session += cfg.viewers * (2 + cfg.lead_chunks) * frames
  whole = cfg.sessions * session + 2 * cfg.slots * state + 3 * film
  return MemoryBudget(state, film, session, whole)


def limit_heap_arenas() -> None:
  """Lets a process grow with its films alone; called before it has threads.

  glibc gives every thread a heap of its own. What a film keeps then lies
  scattered over all of them, between large buffers that come and go, and four
  times as much is never given back. Elsewhere nothing is done.
  """
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def model_name(director: Director) -> str:
  """Tells models apart: the config that shapes films, and some weights."""
  cfg = director.cfg
  parts = (cfg.film, cfg.codec, cfg.text, cfg.dit, cfg.memory, cfg.diffusion)
  digest = hashlib.sha256(repr((*parts, cfg.rollout)).encode())
  for params in (director.params, director.codec_params):
    for path, leaf in tree.paths(params).items():
      some = np.asarray(leaf.reshape(-1)[:256])
      digest.update(path.encode() + some.tobytes())
  return digest.hexdigest()
