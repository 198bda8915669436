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
from cinejax.serving.compiling import when_compiled
from cinejax.serving.directions import ChunkDirection, Edit
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
          own = ChunkDirection(settings=Settings(policy=policy))
          registry.find(made['id']).plan.add(0, own)  # which no undo takes back
    except UserError:
      for name in names:
        registry.discard(
          registry.sessions[name], 'the comparison could not begin'
        )
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
    if isinstance(direction, Edit):
      return _edit(studio, sessions, direction, document)
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
      sessions = [registry.sessions.get(one) for one in names]
      if live := [one for one in sessions if one and not one.ended]:
        return live
  raise NotFoundError('this film is not compared with others')


def _plan(
  studio: Studio, sessions: Sequence[Session], direction: ChunkDirection
) -> dict[str, Any]:
  """Plans a direction for the first chunk that no film has started."""
  if direction.prompt:
    studio.check_prompts({direction.prompt})

  def add() -> int:
    timed = direction.at_chunk is not None or direction.at_secs is not None
    chunk = max(one.live_film.journal.chunks for one in sessions)
    if direction.prompt and not timed:
      chunk = max(chunk, *(one.plan.held_until for one in sessions))
    one = direction if timed else dataclasses.replace(direction, at_chunk=chunk)
    for session in sessions:
      chunk = session.add_direction(one, studio.registry.clock())
      if direction.prompt and not timed:
        session.resume()
      studio.registry.notify(session)
    return chunk

  return when_compiled(
    studio.registry, studio.worker, sessions, direction.settings, add
  )


def _edit(
  studio: Studio, sessions: Sequence[Session], edit: Edit, document: Any
) -> dict[str, Any]:
  """Makes a change to all films, each of which keeps its policy."""
  if edit.do == 'rewind' and edit.fields.get('chunk') is not None:
    for session in sessions:  # all films or none
      session.live_film.check(edit.fields['chunk'])
  for session in sessions:
    policy = session.next_settings().policy
    answer = studio.direct(session.name, document)
    if session.next_settings().policy != policy:
      own = ChunkDirection(settings=Settings(policy=policy))
      session.plan.add(session.next_chunk, own)
  return answer
