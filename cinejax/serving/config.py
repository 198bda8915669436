"""The limits of a server; configs/base.py explains the keys."""

import dataclasses

from cinejax.core.config import between, positive
from cinejax.film.config import MAX_CHUNKS


@dataclasses.dataclass(frozen=True)
class ServingConfig:
  slots: int = positive()
  sessions: int = positive()
  lead_chunks: int = positive()
  kept_states: int = positive()
  state_chunks: int = positive()
  film_chunks: int = between(1, MAX_CHUNKS)
  idle_secs: float = positive()
  saved_sessions: int = positive()
  deleted_days: float = positive()
  viewers: int = positive()
  prompt_chars: int = positive()
  messages_per_sec: float = positive()
  programs: int = positive()
  weight_sets: int = positive()
  connections: int = positive()
  request_secs: float = positive()
  exports: int = positive()
