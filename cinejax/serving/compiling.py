"""Changes to films that wait until their programs are compiled."""

from collections.abc import Callable, Sequence
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.journal import Settings
from cinejax.serving.registry import SessionRegistry
from cinejax.serving.session import Session
from cinejax.serving.worker import RolloutWorker


def when_compiled(
  registry: SessionRegistry,
  worker: RolloutWorker,
  sessions: Sequence[Session],
  change: Settings,
  add: Callable[[], int],
) -> dict[str, Any]:
  """Calls `add` once all programs are compiled that `change` needs.

  The films are not freed meanwhile.

  Args:
    registry: of the sessions.
    worker: compiles the programs.
    sessions: whose next chunks it changes.
    change: to their settings.
    add: plans the change, and returns the chunk from which on it holds.

  Returns:
    JSON: `ok`, and the `chunk`, or `compiling`.

  Raises:
    UserError: if the model cannot do it. What fails later is sent to viewers.
  """
  failures: list[Exception] = []
  waiting = {one.next_settings().merged(change) for one in sessions}
  for settings in waiting:
    worker.check(settings)
  waiting = {one for one in waiting if not worker.slots.prepared(one)}
  if not waiting:
    return {'ok': True, 'chunk': add()}

  def then(settings: Settings, failure: Exception | None) -> None:
    waiting.discard(settings)
    failures.extend([failure] if failure else [])
    if waiting:
      return
    error = None
    try:
      if failures:
        raise UserError(f'this cannot be compiled ({failures[0]})')
      add()
    except UserError as refusal:  # or the films have ended in the meantime
      error = {'type': 'error', 'error': str(refusal)}
    for session in sessions:
      session.compiling -= 1
      if error:
        registry.broadcast(session, error)
      registry.notify(session)

  for session in sessions:
    session.compiling += 1
    registry.notify(session)
  for settings in tuple(waiting):
    worker.compile(settings, lambda failure, one=settings: then(one, failure))
  return {'ok': True, 'compiling': True}
