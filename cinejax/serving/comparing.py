"""Films side by side: one screenplay and seed under several memory policies.

The films of a comparison are sessions like any others, and differ in nothing
but the policy: each is, bit for bit, the film that is directed under its policy
alone. They are in step: none starts a chunk while another has fewer chunks
(RolloutWorker). A direction to a comparison reaches all of its films at the
same chunk, so one can direct several memories live.

A comparison lasts as long as its films are live. After a restart of the server
they are separate films.
"""

import dataclasses
import secrets
from collections.abc import Sequence
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment, Settings
from cinejax.memory.config import POLICIES
from cinejax.serving import directions
from cinejax.serving.directions import ChunkDirection
from cinejax.serving.registry import NotFoundError
from cinejax.serving.session import Session
from cinejax.serving.studio import Studio

FEWEST, MOST = 2, 4  # films


def compare(
  studio: Studio,
  policies: Sequence[str],
  film: Film | None = None,
  seed: int | None = None,
  title: str = '',
) -> dict[str, Any]:
  """Creates a film under each of `policies`, in step.

  Args:
    studio: generates the films.
    policies: two to four, all different.
    film: the screenplay, whose own policies are ignored; None: the films wait
      for their first prompt.
    seed: of the noise; None: that of `film`, or else a random one.
    title: of the films, before the name of the policy; '': that of `film`.

  Returns:
    JSON: `sessions`, the sessions in the order of `policies`.

  Raises:
    UserError: for other policies, or a film that the model cannot make.
    CapacityError: if there cannot be so many sessions.
  """
  _check(policies)
  if seed is None:
    seed = secrets.randbelow(2**31) if film is None else film.seed
    seed = secrets.randbelow(2**31) if seed is None else seed
  title = title or (film.title if film else '')
  registry, names = studio.registry, []
  with registry.changed:  # none starts before all are there
    try:
      for policy in policies:
        made = studio.create(
          seed, f'{title} · {policy}'.removeprefix(' · '), _under(film, policy)
        )
        names.append(made['id'])
        if film is None:
          settings = ChunkDirection(settings=Settings(policy=policy))
          registry.find(made['id']).add_direction(settings, registry.clock())
    except UserError:
      for name in names:
        session = registry.sessions[name]
        session.end('closed', 'the comparison could not begin')
        registry.remove(session, {'type': 'closed'})
        registry.archive.delete(name)
      raise
    live = [one for one in registry.in_step if {*one} & {*registry.sessions}]
    registry.in_step = [*live, tuple(names)]
    return {'sessions': [registry.find(name).to_json() for name in names]}


def direct(studio: Studio, name: str, document: Any) -> dict[str, Any]:
  """Gives a direction to all films of a comparison, for the same chunk.

  Args:
    studio: generates the films.
    name: of one of the films.
    document: the direction, as for one film (directions.py).

  Returns:
    JSON: `ok`, and for directions to chunks the `chunk`, or `compiling` if
    programs have to be compiled first.

  Raises:
    NotFoundError: if the film is not compared with others.
    UserError: if the direction cannot be followed, or chooses a policy.
  """
  direction = directions.parse(document, studio.registry.cfg.prompt_chars)
  with studio.registry.changed:
    sessions = _group(studio, name)
    if not isinstance(direction, ChunkDirection):
      for session in sessions:
        answer = studio.direct(session.name, document)
      return answer
    if direction.settings.policy:
      raise UserError(
        'the films of a comparison differ in their policies, which stay as '
        'they are'
      )
    return _plan(studio, sessions, direction)


def _check(policies: Sequence[str]) -> None:
  for policy in policies:
    if not isinstance(policy, str) or policy not in POLICIES:
      raise UserError(
        f'there is no memory policy {str(policy)[:40]!r}; take {FEWEST} to '
        f'{MOST} of {", ".join(POLICIES)}'
      )
  count = len(set(policies))
  if count < len(policies) or not FEWEST <= count <= MOST:
    raise UserError(
      f'{count} different policies are given; compare {FEWEST} to {MOST}, each '
      'of them once'
    )


def _under(film: Film | None, policy: str) -> Film | None:
  """`film` under one policy from its first segment on."""
  if film is None:
    return None
  segments: list[Segment] = [
    dataclasses.replace(one, policy='' if number else policy)
    for number, one in enumerate(film.segments)
  ]
  return dataclasses.replace(film, segments=tuple(segments), title='')


def _group(studio: Studio, name: str) -> list[Session]:
  """The films that are compared with `name`, and it."""
  registry = studio.registry
  registry.find(name)
  for names in registry.in_step:
    if name in names:
      return [registry.find(one) for one in names if one in registry.sessions]
  raise NotFoundError('this film is not compared with others')


def _plan(
  studio: Studio, sessions: Sequence[Session], direction: ChunkDirection
) -> dict[str, Any]:
  registry, worker = studio.registry, studio.worker
  wanted = {
    session.next_settings().merged(direction.settings) for session in sessions
  }
  for settings in wanted:
    worker.check(settings)
  if direction.prompt:
    studio.check_prompts({direction.prompt})

  def add() -> int:
    """Adds the direction for the first chunk that none has started."""
    timed = direction.at_chunk is not None or direction.at_secs is not None
    chunk = max(one.live_film.journal.chunks for one in sessions)
    if direction.prompt and not timed:
      chunk = max(chunk, *(one.plan.held_until for one in sessions))
    one = direction if timed else dataclasses.replace(direction, at_chunk=chunk)
    for session in sessions:
      chunk = session.add_direction(one, registry.clock())
      if direction.prompt and not timed:
        session.resume()
      registry.notify(session)
    return chunk

  waiting = {one for one in wanted if not worker.slots.prepared(one)}
  if not waiting:
    return {'ok': True, 'chunk': add()}

  failures: list[Exception] = []

  def then(settings: Settings, failure: Exception | None) -> None:
    waiting.discard(settings)
    if failure is not None:
      failures.append(failure)
    if waiting:
      return
    error = f'this cannot be compiled ({failures[0]})' if failures else ''
    if not error:
      try:
        add()
      except UserError as refusal:  # or the films have ended in the meantime
        error = str(refusal)
    for session in sessions:
      session.compiling -= 1
      if error:
        registry.broadcast(session, {'type': 'error', 'error': error})
      registry.notify(session)

  for session in sessions:
    session.compiling += 1
    registry.notify(session)
  for settings in tuple(waiting):
    worker.compile(settings, lambda failure, one=settings: then(one, failure))
  return {'ok': True, 'compiling': True}
