"""Changes to a film and its plan other than directions for a chunk.

Each is a step that can be undone (film/history.py). They change a Session under
the registry's lock, are recorded before they take effect, and raise UserError
if they cannot be made.
"""

import dataclasses
from typing import Any, NamedTuple

from cinejax.core.errors import UserError
from cinejax.serving.directions import ChunkDirection, Edit
from cinejax.serving.plan import PlannedDirection
from cinejax.serving.session import NEXT_PROMPT, Session


def rewind(
  session: Session, chunk: int | None = None, shot: int | None = None
) -> None:
  """Goes back to before a chunk or a shot, and pauses."""
  if chunk is None:
    chunk = _chunk_of_shot(session, shot)
  step = session.step('retake', end=session.live_film.tree.end)
  film = session.live_film.rewind(chunk, {'step': True})
  session.history.add(step)
  session.plan.clear()
  session.plan_damaged(film)
  session.moved(NEXT_PROMPT)


def choose_take(session: Session, take: int) -> None:
  """Goes to the end of a take, and pauses."""
  tree = session.live_film.tree
  chosen = tree.take(take)
  step = session.step('choice of a take', end=tree.end)
  session.live_film.write({'take': take, 'step': True})
  session.history.add(step)
  session.plan.clear()
  session.go(chosen.path[-1])
  session.moved(f'this is take {chosen.label} now')


def delete_take(session: Session, take: int) -> None:
  """Lists a take no more; its chunks stay on the disk."""
  tree = session.live_film.tree
  tree.take(take)
  step = session.step('deletion of a take')
  session.live_film.write({'hide': take, 'step': True})
  session.history.add(step)
  tree.hidden |= {take}


def undo(session: Session, redo: bool = False) -> None:
  """Undoes the last step, or does again the last one that was undone."""
  session.history.check(redo)
  live_film, name = session.live_film, session.history.name(redo)
  live_film.write({'redo' if redo else 'undo': True})
  end = session.history.move(
    redo, live_film.tree, session.plan, session.next_chunk
  )
  if end is not None:
    session.go(end)
    session.moved(f'{name}: {"done again" if redo else "undone"}')


def redo(session: Session) -> None:
  """Does again the last step that was undone."""
  undo(session, redo=True)


def edit_planned(
  session: Session,
  chunk: int,
  prompt: str | None = None,
  cut: bool | None = None,
  chunks: int | None = None,
) -> None:
  """Changes what is planned for a chunk.

  Args:
    session: of the film.
    chunk: for which it is planned.
    prompt: the new prompt; None: as it was.
    cut: whether it starts a new shot; None: as it was.
    chunks: how long it lasts; all that is planned after it moves. None: as it
      was.
  """
  entries = _entries(session)
  place = _place(entries, chunk)
  entry = entries[place]
  changes: dict[str, Any] = {}
  if prompt is not None:
    changes['prompt'] = prompt
  if cut is not None:
    changes |= {'cut': cut, 'blend_chunks': 0}
  if chunks is not None and entry.length is None:
    changes['chunks'] = chunks  # the next prompt waits for so many
  elif chunks is not None:
    entry = entry._replace(length=chunks)
  direction = dataclasses.replace(entry.direction, **changes)
  entries[place] = entry._replace(direction=direction)
  _replace(session, entries, chunk)


def move_planned(session: Session, chunk: int, place: int) -> None:
  """Moves what is planned for a chunk to another place of the plan.

  Args:
    session: of the film.
    chunk: for which it is planned.
    place: from 0, among all that is planned. What is planned keeps its length,
      except that the last direction of a plan without an end is open.
  """
  entries = _entries(session)
  before = _place(entries, chunk)
  if place >= len(entries):
    raise UserError(f'the plan has only {len(entries)} places')
  first = entries[min(before, place)].chunk
  entries.insert(place, entries.pop(before))
  lasts = entries[-1].length
  entries = [
    one._replace(length=lasts) if one.length is None else one for one in entries
  ]
  if session.plan.end_chunk is None:
    entries[-1] = entries[-1]._replace(length=None)
  _replace(session, entries, first)


def delete_planned(session: Session, chunk: int) -> None:
  """Forgets what is planned for a chunk; what is planned after it moves up."""
  entries = _entries(session)
  del entries[_place(entries, chunk)]
  _replace(session, entries, chunk)


class _Entry(NamedTuple):
  """All that is planned for one chunk, as one direction."""

  chunk: int
  direction: ChunkDirection
  received: float | None
  length: int | None  # chunks; None: until something else is said


def _entries(session: Session) -> list[_Entry]:
  """The plan of a session in the order of its chunks."""
  entries: list[_Entry] = []
  for chunk, direction, received in session.plan.directions:
    if entries and entries[-1].chunk == chunk:
      merged = entries[-1].direction.merged(direction)
      entries[-1] = entries[-1]._replace(direction=merged)
    else:
      entries.append(_Entry(chunk, direction, received, None))
  stops = [one.chunk for one in entries[1:]]
  end = session.plan.end_chunk
  if entries and end is not None:  # directions may lie beyond the end
    stops.append(max(end, entries[-1].chunk + 1))
  return [
    one._replace(length=stop - one.chunk)
    for one, stop in zip(entries, stops, strict=False)
  ] + entries[len(stops) :]


def _place(entries: list[_Entry], chunk: int) -> int:
  for place, entry in enumerate(entries):
    if entry.chunk == chunk:
      return place
  raise UserError(f'nothing is planned for chunk {chunk} any more')


def _replace(session: Session, entries: list[_Entry], first: int) -> None:
  """Plans `entries` one after another; the plan ends where the last one does.

  Args:
    session: of the film.
    entries: what is planned from now on.
    first: the first chunk for which the plan changes.
  """
  chunk, directions = session.plan.directions[0].chunk, []
  for entry in entries:
    session.check_length(chunk + 1)
    direction = entry.direction
    directions.append(PlannedDirection(chunk, direction, entry.received))
    chunk += entry.length or 0
  end = chunk if entries and entries[-1].length is not None else None
  session.check_length(end or 0)
  step = session.step('plan', first)
  session.plan.replace(directions, end, **{'from': first, 'step': True})
  session.history.add(step)


def _chunk_of_shot(session: Session, shot: int | None) -> int:
  """The first chunk of a shot; UserError if there is no such shot."""
  for entry in session.segments_to_json():
    if entry['shot'] == shot:
      return entry['chunk']
  raise UserError(f'there is no shot {shot} yet')


EDITS = {
  'rewind': rewind,
  'choose_take': choose_take,
  'delete_take': delete_take,
  'undo': undo,
  'redo': redo,
  'edit_planned': edit_planned,
  'move_planned': move_planned,
  'delete_planned': delete_planned,
}


def follow(session: Session, edit: Edit) -> None:
  """Makes the change that a client wants."""
  session.check_open()
  EDITS[edit.do](session, **edit.fields)
