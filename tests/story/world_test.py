"""Prompts round trip and never name an appearance."""

import dataclasses
import itertools

import pytest

from cinejax.story import casting, world
from configs import story


def _segments():
  for character, place, size, camera, action in itertools.product(
    *(
      range(len(v))
      for v in (
        world.CHARACTERS,
        world.PLACES,
        world.SIZES,
        world.CAMERAS,
        world.ACTIONS,
      )
    )
  ):
    yield world.StorySegment(character, place, size, camera, action, 1, False)


def test_vocabularies_are_as_large_as_specified():
  assert len(world.CHARACTERS) >= 6
  assert len(world.PLACES) >= 6
  assert len(world.SIZES) == 3
  assert len(world.CAMERAS) == 2
  assert len(world.ACTIONS) == 4
  assert len(set(world.APPEARANCES)) >= 24


def test_every_prompt_parses_to_its_segment():
  prompts = set()
  for segment in _segments():
    text = world.prompt(segment)
    assert world.parse_prompt(text) == segment
    prompts.add(text)
  assert len(prompts) == len(list(_segments()))


def test_a_prefix_is_read_as_a_cut():
  segment = world.StorySegment(3, 1, 0, 1, 2, 1, False)
  parsed = world.parse_prompt('Cut to: ' + world.prompt(segment))
  assert parsed == dataclasses.replace(segment, cut=True)


@pytest.mark.parametrize(
  'text',
  [
    '',
    'a dog runs',
    'Zoe stands in the forest, wide shot',
    'Ada stands in the forest',
    'Ada stands in the forest, wide shot, in red',
  ],
)
def test_other_text_is_not_ours(text):
  assert world.parse_prompt(text) is None


def test_prompts_name_no_part_of_an_appearance():
  words = {
    word.strip(',')
    for segment in _segments()
    for word in world.prompt(segment).split()
  }
  assert not words & {*world.HUES, *world.SHAPES, *world.PATTERNS}


def test_screenplay_keeps_prompts_chunks_and_cuts():
  film = casting.cast('eval', 0, 4)
  play = film.screenplay()
  assert [s.prompt for s in play.segments] == [
    world.prompt(s) for s in film.segments
  ]
  assert [(s.chunks, s.cut) for s in play.segments] == [
    (s.chunks, s.cut) for s in film.segments
  ]
  assert sum(s.chunks for s in play.segments) == film.chunks


def test_a_picture_has_the_prompt_that_directors_give_it():
  segment = world.picture_segment(3, 1)
  assert world.prompt(segment) == story.get_config().film.cast_prompt.format(
    name=world.CHARACTERS[3]
  )
