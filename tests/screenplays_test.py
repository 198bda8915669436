"""The bundled screenplays: within what the bundled model was trained on."""

import itertools
import pathlib

import pytest

from cinejax.film import screenplay
from cinejax.models.text import actions
from cinejax.story import steering, world

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / 'screenplays').iterdir())
WINDOW_CHUNKS = 3  # V / F of configs/story.py


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.name)
def test_every_prompt_is_of_the_story_grammar(path):
  (film,) = screenplay.load(path)
  for segment in film.segments:
    bare, done = actions.read(segment.prompt)
    if path.stem == 'steered':  # actions are in place of the action's words
      assert set(itertools.chain(*done)) <= set(steering.ACTIONS)
      assert len(done) in (0, 3)
      bare = bare.replace(' is ', ' stands ')
    asked = world.parse_prompt(bare)
    assert asked is not None, segment.prompt
    assert world.prompt(asked) == bare
    assert segment.chunks <= 3


def test_the_demo_needs_memory():
  """Six shots in eleven chunks; each of three characters leaves the window."""
  (film,) = screenplay.load(ROOT / 'screenplays' / 'demo.json')
  prompts = screenplay.chunk_prompts(film, 'Cut to: ', 1.5)
  assert len(prompts) == 11 and prompts[-1].shot == 5
  seen = [world.parse_prompt(chunk.prompt).character for chunk in prompts]
  returns = 0
  for chunk in range(1, len(seen)):
    if seen[chunk] != seen[chunk - 1] and seen[chunk] in seen[:chunk]:
      assert seen[chunk] not in seen[chunk - WINDOW_CHUNKS : chunk]
      returns += 1
  assert returns == 3
