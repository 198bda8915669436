"""What can be undone and redone of a film, and of what is planned for it.

Every change that a director makes is a step: a direction, a change of the plan,
a retake, the choice or the deletion of a take. A step remembers the plan before
it. That is little, because chunks are never deleted: the film before a retake
is given by its end (takes.py). What the film has grown by itself belongs to the
step before.

If a film has reached the chunk for which a direction was given, undoing the
direction goes back to before this chunk; otherwise the film goes on, and only
its plan changes. To redo is to exchange the film and its plan once more.
"""

import collections
from typing import NamedTuple

from cinejax.core.errors import UserError
from cinejax.serving.film.takes import ChunkTree
from cinejax.serving.plan import Plan, PlanState

_MAX_STEPS = 1000


class Step(NamedTuple):
  """What a step changed."""

  name: str
  plan: PlanState  # before it
  hidden: frozenset[int]  # the deleted takes before it
  chunk: int | None = None  # the first that it concerns; None: see `end`
  end: int | None = None  # of the film before it; None: it did not go elsewhere


class History:
  """The steps of a film that can be undone, and those that were."""

  def __init__(self) -> None:
    self._done: collections.deque[Step] = collections.deque(maxlen=_MAX_STEPS)
    self._undone: collections.deque[Step] = collections.deque(maxlen=_MAX_STEPS)

  def name(self, redo: bool) -> str:
    """What would be undone, or done again; '': nothing."""
    steps = self._undone if redo else self._done
    return steps[-1].name if steps else ''

  def clear(self) -> None:
    """Forgets all steps."""
    self._done.clear()
    self._undone.clear()

  def add(self, step: Step) -> None:
    """Adds a step that was done."""
    self._done.append(step)
    self._undone.clear()

  def check(self, redo: bool) -> None:
    """Raises UserError if there is nothing to undo, or to redo."""
    if not self.name(redo):
      what = 'done again' if redo else 'undone'
      raise UserError(f'there is nothing that can be {what}')

  def move(
    self, redo: bool, tree: ChunkTree, plan: Plan, started: int
  ) -> int | None:
    """Undoes or redoes one step of the plan and the deleted takes.

    Args:
      redo: whether to redo.
      tree: of the film; its path stays.
      plan: of the film.
      started: the chunks of the film, with the one in flight.

    Returns:
      The end that the film has to take (takes.py); None: it goes on.
    """
    if redo:
      step, others = self._undone.pop(), self._done
    else:
      step, others = self._done.pop(), self._undone
    end, first = step.end, 0
    if end is None:
      first = started
      if step.chunk is not None and started > step.chunk:
        end, first = tree.at(step.chunk), step.chunk
    before = None if end is None else tree.end
    inverse = Step(step.name, plan.state(), tree.hidden, step.chunk, before)
    others.append(inverse)
    tree.hidden = step.hidden
    plan.restore(step.plan, first, end is not None)
    return end
