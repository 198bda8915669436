"""The newest states of a film on the host, to go to and to fork at."""

from collections.abc import Sequence
from typing import Any

import jax

from cinejax.directing.cast import encode_cast
from cinejax.directing.director import Director
from cinejax.film.cast import CastPicture
from cinejax.rollout.state import RolloutState
from cinejax.serving.film import host_state
from cinejax.serving.film.host_state import Snapshot


class Snapshots:
  """Snapshots by the number of the last chunk before them (takes.py)."""

  def __init__(self, most: int):
    """No snapshots yet, and never more than `most`."""
    self.most = most
    self._snapshots: dict[int, Snapshot] = {}  # the newest last

  def add(self, number: int, snapshot: Snapshot) -> None:
    """Adds the state after chunk `number`."""
    self._snapshots.pop(number, None)
    self._snapshots[number] = snapshot
    while len(self._snapshots) > self.most:
      del self._snapshots[next(iter(self._snapshots))]

  def find(self, path: Sequence[int]) -> tuple[int, Snapshot | None]:
    """The state with most chunks of `path` before it, and their number.

    (0, None): there is none.
    """
    for chunks in range(len(path), 0, -1):
      if path[chunks - 1] in self._snapshots:
        return chunks, self._snapshots[path[chunks - 1]]
    return 0, None

  def renumbered(self, path: Sequence[int]) -> 'Snapshots':
    """Those after chunks of `path`, which have the numbers 0, 1, .. instead."""
    copy = Snapshots(self.most)
    for number, before in enumerate(path):
      if before in self._snapshots:
        copy.add(number, self._snapshots[before])
    return copy


def begin(
  director: Director, seed: int, cast: Sequence[CastPicture] = ()
) -> tuple[RolloutState, Any]:
  """The state of a film without chunks, and that of its decoder.

  Raises UserError as `encode_cast` does.
  """
  pictures = encode_cast(director, cast)
  return director.admit(director.begin([seed]), pictures), _decoder(director)


def take(state: RolloutState, decoder: Any) -> Snapshot:
  """A copy of the states of a film and of its decoder."""
  return Snapshot(host_state.to_host(state), host_state.to_host(decoder))


def place(director: Director, snapshot: Snapshot) -> tuple[RolloutState, Any]:
  """The states of a snapshot, on the devices of the director.

  Raises UserError if they belong to another model.
  """
  decoder = jax.eval_shape(lambda: _decoder(director))
  like = jax.eval_shape(lambda: director.begin([0]))
  state = host_state.to_device(snapshot.state, like)
  return director.place(state), host_state.to_device(snapshot.decoder, decoder)


def _decoder(director: Director) -> Any:
  shape = (1, *director.latent_shape[1:])
  return director.codec.init_decode(director.codec_params, shape)
