"""What a server may come to hold, known before the first session.

  session = state (1 + kept + 1) + chunks (latents + F thumbs)
            + viewers (lead + 2) frames of a chunk                         (1)
  all     = sessions · session + 2 slots · state                           (2)

A state is a film's memory and its decoder's; it may be copied once more while
it is saved. Weights, compiled programs and their workspace come on top.
"""

import contextlib
import ctypes
import hashlib
from typing import NamedTuple

import jax
import numpy as np

from cinejax.core import tree
from cinejax.director import Director
from cinejax.serving.states import host_bytes
from cinejax.serving.thumbs import MOST_BYTES

_M_ARENA_MAX = -8  # of glibc's malloc.h


class Budget(NamedTuple):
  state: int  # bytes
  session: int  # eq. (1)
  all: int  # eq. (2)

  def sentence(self, sessions: int) -> str:
    return (
      f'at most {sessions} sessions of {self.session / 1e6:.0f} MB, '
      f'{self.all / 1e9:.2f} GB in all, beside the weights'
    )


def bound(director: Director) -> Budget:
  cfg, shape = director.cfg.serving, director.latent_shape
  begin = jax.eval_shape(lambda: director.begin([0]))
  params = director.codec_params
  decoder = jax.eval_shape(
    lambda: director.codec.init_decode(params, (1, *shape[1:]))
  )
  state = host_bytes(begin) + host_bytes(decoder)
  chunk = 4 * int(np.prod(shape)) + shape[0] * MOST_BYTES
  film = director.cfg.film
  frames = 3 * film.height * film.width * director.timeline.chunk_pixels
  session = state * (2 + cfg.kept_states) + cfg.film_chunks * chunk
  session += cfg.viewers * (2 + cfg.lead_chunks) * frames
  return Budget(state, session, cfg.sessions * session + 2 * cfg.slots * state)


def steady_heap() -> None:
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
