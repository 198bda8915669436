"""How films are directed live, and what a server bounds."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ServingConfig:
  slots: int  # films that one call carries; 1 = one by one
  sessions: int  # films in the making at once
  lead_chunks: int  # made and not yet on screen, at most
  kept_states: int  # of a session, to rewind to and fork at
  film_chunks: int  # the longest film
  idle_secs: float  # unwatched and unasked: saved, and its memory freed
  saved_sessions: int  # on disk; the oldest leaves
  viewers: int  # of one session
  prompt_chars: int  # the longest prompt
  messages_per_sec: float  # from one client, in bursts of ten times as many
