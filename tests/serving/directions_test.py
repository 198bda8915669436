import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinejax.core.errors import UserError
from cinejax.film.journal import Segment, Settings
from cinejax.serving.directions import (
  FIELDS,
  ChunkDirection,
  Edit,
  SessionCommand,
  parse,
)

NAMES = sorted({name for fields in FIELDS.values() for name in fields})


@pytest.mark.parametrize(
  ('document', 'direction'),
  [
    ({'do': 'prompt', 'prompt': ' a  b\n'}, ChunkDirection('a b')),
    (
      {'do': 'prompt', 'prompt': 'a', 'cut': True, 'at_secs': 2},
      ChunkDirection('a', cut=True, at_secs=2),
    ),
    (
      {'do': 'prompt', 'prompt': 'a', 'blend_chunks': 2, 'steps': 4},
      ChunkDirection('a', blend_chunks=2, settings=Settings(steps=4)),
    ),
    (
      {'do': 'prompt', 'prompt': 'CUT:  a fox * 3'},
      ChunkDirection('a fox', cut=True, chunks=3),
    ),
    (
      {'do': 'prompt', 'prompt': 'a * 2', 'chunks': 4},
      ChunkDirection('a', chunks=4),
    ),
    ({'do': 'cut'}, ChunkDirection(cut=True)),
    (
      {'do': 'set', 'policy': 'window', 'at_chunk': 3},
      ChunkDirection(settings=Settings('window'), at_chunk=3),
    ),
    ({'do': 'hold'}, SessionCommand('hold')),
    ({'do': 'rewind', 'shot': 2}, Edit('rewind', {'shot': 2})),
  ],
)
def test_directions(document, direction):
  assert parse(document, 100) == direction


@pytest.mark.parametrize(
  ('document', 'sentence'),
  [
    (None, 'a JSON object'),
    ([], 'a JSON object'),
    ({}, 'must be one of prompt'),
    ({'do': ['prompt']}, 'must be one of prompt'),
    ({'do': 'action', 'go': 'left'}, 'write actions after a prompt'),
    ({'do': 'prompt'}, 'is empty'),
    ({'do': 'prompt', 'prompt': '\n '}, 'is empty'),
    ({'do': 'prompt', 'prompt': 'x' * 101}, 'longer than 100'),
    ({'do': 'prompt', 'prompt': 3}, 'wrong type'),
    ({'do': 'prompt', 'prompt': 'cut:'}, 'says nothing to be seen'),
    (
      {'do': 'prompt', 'prompt': 'cut: a', 'blend_chunks': 2},
      'does not blend',
    ),
    ({'do': 'prompt', 'promt': 'a'}, 'is it prompt'),
    ({'do': 'prompt', 'prompt': 'a', 'cut': 1}, 'wrong type'),
    (
      {'do': 'prompt', 'prompt': 'a', 'cut': True, 'blend_chunks': 2},
      'does not blend',
    ),
    (
      {'do': 'prompt', 'prompt': 'a', 'at_secs': 1, 'at_chunk': 1},
      'not both',
    ),
    ({'do': 'prompt', 'prompt': 'a', 'at_secs': float('inf')}, 'at_secs is'),
    ({'do': 'prompt', 'prompt': 'a', 'at_chunk': -1}, 'at_chunk is -1'),
    ({'do': 'rewind', 'chunk': 10**400}, 'chunk is 1000'),
    ({'do': 'prompt', 'prompt': '\ud800'}, 'half a character'),
    ({'do': 'set'}, 'takes a policy'),
    ({'do': 'rewind'}, 'only one'),
    ({'do': 'rewind', 'chunk': 1, 'shot': 1}, 'only one'),
  ],
)
def test_anything_else_is_one_sentence(document, sentence):
  with pytest.raises(UserError, match=sentence):
    parse(document, 100)


json_values = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
  lambda some: st.lists(some) | st.dictionaries(st.text(), some),
  max_leaves=5,
)


@given(
  st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4),
  st.sampled_from([*FIELDS, 'action']) | json_values,
)
def test_no_json_breaks_the_parser(fields, do):
  try:
    parse(fields | {'do': do}, 100)
  except UserError as error:
    assert str(error) and '\n' not in str(error)[:-1]


def test_what_falls_on_one_chunk_is_one_direction():
  first = ChunkDirection('a', cut=True, settings=Settings(steps=2))
  assert first.merged(ChunkDirection('b')) == ChunkDirection(
    'b', True, settings=Settings(steps=2)
  )
  both = first.merged(ChunkDirection(settings=Settings('window')))
  assert both == ChunkDirection('a', True, settings=Settings('window', 2))


def test_a_segment_becomes_a_direction_without_loss():
  segment = Segment(
    'a',
    chunks=1,
    cut=False,
    blend_chunks=2,
    policy='sink',
    steps=2,
    guidance=1.5,
    routed_frames=3,
    lora_strength=0.5,
    seed=7,
    camera='w*4',
  )
  for field in dataclasses.fields(Segment):
    if field.name not in ('secs', 'global_prompt'):  # they are resolved before
      assert getattr(segment, field.name) != field.default, field.name
  direction = ChunkDirection.of_segment(segment, 3)
  assert direction.segment('') == segment
  later = ChunkDirection(settings=Settings(steps=4))
  merged = direction.merged(later).segment('')
  assert merged == dataclasses.replace(segment, steps=4)
