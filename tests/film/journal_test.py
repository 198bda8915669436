import random

import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.journal import Film, Journal, Segment, Settings


def _played(*segments):
  """A journal in which each segment got its chunks; what they were to be."""
  journal, prompts = Journal('Cut to: '), []
  for segment in segments:
    journal.add(segment)
    prompts += [journal.next_chunk() for _ in range(segment.chunks)]
  return journal, prompts


def _some_segments(seed):
  draw = random.Random(seed)
  return [
    Segment(
      f'prompt {n}',
      chunks=draw.randint(1, 4),
      cut=draw.random() < 0.5,
      global_prompt=draw.choice(['', 'In ink.']),
      blend_chunks=draw.randint(0, 3),
      policy=draw.choice(['', 'window', 'camr']),
      steps=draw.choice([None, 2, 4]),
      guidance=draw.choice([None, 2.0]),
    )
    for n in range(6)
  ]


@pytest.mark.parametrize('seed', range(4))
def test_a_journal_is_a_screenplay(seed, tmp_path):
  journal, prompts = _played(*_some_segments(seed))
  screenplay.save(Film(journal.segments, seed=3), tmp_path / 'film.json')
  (again,) = screenplay.load(tmp_path / 'film.json')
  assert screenplay.chunk_prompts(again, 'Cut to: ', 1.0) == tuple(prompts)


@pytest.mark.parametrize('seed', range(4))
def test_going_back_and_on_is_not_having_left(seed):
  segments = _some_segments(seed)
  journal, prompts = _played(*segments)
  for chunks in range(1, journal.chunks):
    then = journal.truncated(chunks)
    assert then.chunks == chunks
    then.add(Segment('another way', chunks=1, cut=False))
    next_chunk = then.next_chunk()
    assert next_chunk.shot == prompts[chunks - 1].shot
    assert next_chunk.settings == prompts[chunks - 1].settings
  assert journal.truncated(journal.chunks).segments == journal.segments
  assert not journal.truncated(0).segments


def test_text_blends_over_chunks_and_never_over_a_cut():
  _, prompts = _played(
    Segment('a', chunks=1),
    Segment('b', chunks=4, cut=False, blend_chunks=2, global_prompt='In ink.'),
    Segment('c', chunks=1, cut=True, blend_chunks=2),
    Segment('d', chunks=1, cut=False, blend_chunks=1),
  )
  assert [(p.previous_prompt, round(p.share, 3)) for p in prompts] == [
    ('', 1),
    *[('a', 0.333), ('a', 0.667), ('', 1), ('', 1)],
    ('', 1),
    ('c', 0.5),
  ]


def test_settings_hold_until_another_says_otherwise():
  _, prompts = _played(
    Segment('a', chunks=1),
    Segment('b', chunks=1, policy='window', steps=4),
    Segment('c', chunks=1, steps=2),
  )
  assert [p.settings for p in prompts] == [
    Settings(),
    Settings('window', 4),
    Settings('window', 2),
  ]


@pytest.mark.parametrize(
  ('entry', 'sentence'),
  [
    ({'blend_chunks': -1}, 'blend_chunks is -1'),
    ({'policy': 3}, 'policy has a wrong type'),
    ({'steps': True}, 'steps has a wrong type'),
    ({'guidance': float('nan')}, 'guidance is nan'),
  ],
)
def test_a_screenplay_that_asks_for_nonsense_is_refused(entry, sentence):
  document = {'segments': [{'prompt': 'a', 'chunks': 1} | entry]}
  with pytest.raises(UserError, match=sentence):
    screenplay.parse(document, 'here')


def test_a_seed_is_no_negative_number():
  segments = [{'prompt': 'a', 'chunks': 1}]
  with pytest.raises(UserError, match='seed is -1'):
    screenplay.parse({'seed': -1, 'segments': segments}, 'here')
