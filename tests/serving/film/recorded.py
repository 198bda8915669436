"""A film that is directed in every way, and what can be seen of it."""

from cinejax.film.journal import Film, Segment
from cinejax.serving import edits
from cinejax.serving.directions import ChunkDirection

SUFFIXES = ('journal', 'chunks', 'safetensors')
SCREENPLAY = Film((Segment('a', chunks=2), Segment('b', chunks=9)), seed=5)


def say(prompt, at=None, cut=False):
  direction = ChunkDirection(prompt, cut=cut, at_chunk=at)
  return lambda session: session.add_direction(direction, 0.0)


def run_screenplay(session):
  with session.plan.at_once():
    session.run_screenplay(SCREENPLAY, 0.0)


def first_take(session):
  return session.to_json()['takes'][-1]['takes'][0]['take']


def choose_take(session):
  edits.choose_take(session, first_take(session))


# What a director does; None is a chunk.
ACTIONS = (
  run_screenplay,
  None,
  say('never', at=8),
  lambda session: session.hold(),
  say('b', at=2, cut=True),
  None,
  None,
  lambda session: edits.rewind(session, 1),
  say('c'),
  say('d', at=3, cut=True),
  None,
  None,
  None,
  None,
  choose_take,
  None,
  lambda session: edits.undo(session),
  None,
  lambda session: edits.redo(session),
  lambda session: edits.delete_take(session, first_take(session)),
  say('e', at=6),
  say('f', at=9, cut=True),
  lambda session: edits.move_planned(session, 9, 0),
  lambda session: edits.edit_planned(session, 6, chunks=2),
  None,
  None,
  lambda session: edits.delete_planned(session, 8),
  lambda session: edits.undo(session),
  lambda session: edits.undo(session),
  lambda session: edits.undo(session),
  None,
  lambda session: edits.rewind(session, 0),
  say('g'),
  None,
)


def act(registry, session, action, generate):
  if action is not None:
    action(session)
    return
  while session.live_film.replaying:
    generate(session)
  generate(session)
  if session.live_film.chunks == 3:
    registry.archive.save_state(session.name, session.live_film)
    registry.archive.flush()


def contents(folder, name):
  paths = [folder / f'{name}.{suffix}' for suffix in SUFFIXES]
  return [path.read_bytes() if path.exists() else b'' for path in paths]


def described(session):
  """All that a director can see of a film, and what is planned for it."""
  keys = ('chunks', 'segments', 'planned', 'seed', 'title')
  keys += ('stored', 'takes', 'undo', 'redo')
  state = {key: session.to_json()[key] for key in keys}
  latents = session.live_film.spool.latents().tobytes()
  return state | {'until': session.plan.end_chunk, 'latents': latents}
