"""How films are directed live, and what a server bounds; configs/base.py has
the meanings.
"""

import dataclasses

from cinejax.core.config import between, positive
from cinejax.film.config import MOST_CHUNKS


@dataclasses.dataclass(frozen=True)
class ServingConfig:
  slots: int = positive()
  sessions: int = positive()
  lead_chunks: int = positive()
  kept_states: int = positive()
  film_chunks: int = between(1, MOST_CHUNKS)
  idle_secs: float = positive()
  saved_sessions: int = positive()
  viewers: int = positive()
  prompt_chars: int = positive()
  messages_per_sec: float = positive()
