import json
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.screenplay import Film, Segment

SCENE = 'The scene transitions. '


def _write(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  text = content if isinstance(content, str) else json.dumps(content)
  path.write_text(text)
  return path


def _shots(folder, captions, durations=None, **extra):
  for index, caption in enumerate(captions):
    _write(folder / f'{index}.json', {'caption': caption, **extra})
  if durations:
    _write(folder / 'shot_durations.txt', '\n'.join(map(str, durations)))
  return folder


def test_chunks_shots_and_cut_prefix():
  film = Film(
    (
      Segment('a fox', chunks=2),
      Segment('it runs', secs=1.5, cut=False, global_prompt='Snow.'),
      Segment('a hare', chunks=2, global_prompt='Snow.'),
    )
  )
  prompts = screenplay.chunk_prompts(film, 'Cut to: ', 0.75)
  assert tuple(chunk[:4] for chunk in prompts) == (
    ('a fox', 0, 0, False),
    ('a fox', 0, 0, False),
    ('Snow. it runs', 1, 0, False),
    ('Snow. it runs', 1, 0, False),
    ('Cut to: Snow. a hare', 2, 1, True),
    ('Snow. a hare', 2, 1, False),
  )


words = st.text(min_size=1).filter(str.strip)
segments = st.builds(
  Segment, words, st.integers(1, 99), st.none(), st.booleans(), st.text()
) | st.builds(
  Segment, words, st.none(), st.floats(0.1, 1e3), st.booleans(), st.text()
)


@hypothesis.given(
  st.lists(segments, min_size=1, max_size=4).map(tuple), st.text()
)
def test_round_trip(tmp_path_factory, parts, title):
  path = tmp_path_factory.mktemp('films') / 'film.json'
  film = Film(parts, title)
  screenplay.save(film, path)
  assert screenplay.load(path) == (film,)


def test_global_prompt_is_inherited_unless_given(tmp_path):
  entries = [
    {'prompt': 'a', 'chunks': 1},
    {'prompt': 'b', 'chunks': 1, 'global_prompt': ''},
    {'prompt': 'c', 'chunks': 1, 'global_prompt': 'own'},
  ]
  document = {'global_prompt': 'all', 'segments': entries}
  (film,) = screenplay.load(_write(tmp_path / 'film.json', document))
  assert [s.global_prompt for s in film.segments] == ['all', '', 'own']


def _expand(film):
  chunks = screenplay.chunk_prompts(film, SCENE, 0.75)
  return [chunk.prompt for chunk in chunks]


def test_shot_folder_expansion_in_every_way(tmp_path):
  p = [f'p{i}' for i in range(3)]
  want = [*['p0'] * 4, SCENE + 'p1', *['p1'] * 3, SCENE + 'p2', *['p2'] * 3]
  written = _shots(tmp_path / 'a', p, (4, 4, 4), num_blocks=9)
  blocks = _shots(tmp_path / 'b', p, num_blocks=4)
  bare = _shots(tmp_path / 'c', p)
  assert _expand(screenplay.load(written)[0]) == want
  assert _expand(screenplay.load(blocks)[0]) == want
  assert _expand(screenplay.load(bare, chunks=12)[0]) == want
  assert _expand(screenplay.load(written, chunks=10)[0]) == want[:10]
  assert _expand(screenplay.load(written, chunks=5)[0]) == want[:5]
  assert _expand(screenplay.load(written, chunks=14)[0]) == [*want, 'p2', 'p2']
  (uneven,) = screenplay.load(bare, chunks=11)
  assert [segment.chunks for segment in uneven.segments] == [4, 4, 3]
  assert len(screenplay.load(tmp_path, chunks=12)) == 3


def test_holocine_text(tmp_path):
  text = (
    '[global caption] A harbour at dawn. This scene contains 3 shots. '
    '[per shot caption] Gulls. [shot cut] A net.\n[shot cut] A boat leaves.'
  )
  (film,) = screenplay.load(_write(tmp_path / 'film.txt', text))
  assert [s.prompt for s in film.segments] == [
    'Gulls.',
    'A net.',
    'A boat leaves.',
  ]
  assert {s.global_prompt for s in film.segments} == {'A harbour at dawn.'}
  assert [s.secs for s in film.segments] == [5.0] * 3
  last = screenplay.chunk_prompts(film, 'Cut to: ', 5.0)[-1]
  assert last[:4] == ('Cut to: A harbour at dawn. A boat leaves.', 2, 2, True)


def test_plain_lines_are_films(tmp_path):
  films = screenplay.load(_write(tmp_path / 'films.txt', 'a fox\n\na hare\n'))
  assert [film.segments[0].prompt for film in films] == ['a fox', 'a hare']


def test_every_published_longlive_screenplay(shared_data):
  root = shared_data / 'prompts' / 'longlive2'
  films = screenplay.load(root)
  assert len(films) == 11
  assert sum(len(film.segments) for film in films) == 80
  for film in films:
    chunks = screenplay.chunk_prompts(film, SCENE, 0.75)
    assert len(chunks) == 48
    assert chunks[-1].shot == len(film.segments) - 1
    assert sum(c.prompt.startswith(SCENE) for c in chunks) == chunks[-1].shot
  interactive = screenplay.load(root / 'interactive_example_v1.jsonl')
  assert [len(film.segments) for film in interactive] == [6] * 12
  for film in interactive:
    chunks = screenplay.chunk_prompts(film, SCENE, 0.75)
    assert not any(chunk.cut or chunk.shot for chunk in chunks)
  assert len(screenplay.load(root / 'long_example.txt')) == 8


GOOD = {'prompt': 'a', 'chunks': 1}


@pytest.mark.parametrize(
  ('document', 'message'),
  [
    ('{', 'film.json: is not JSON'),
    ([GOOD], 'film.json must be an object'),
    ({'title': 'x'}, 'film.json: segments is missing'),
    ({'segments': []}, 'film.json: segments is missing'),
    ({'segments': 'x'}, 'film.json.segments has a wrong type'),
    ({'segments': [GOOD, 'x']}, r'shot 1, segments\[1\] must be an object'),
    (
      {'segments': [GOOD, {'prompt': ' ', 'cut': False}]},
      r'shot 0, segments\[1\].prompt is missing',
    ),
    (
      {'segments': [GOOD, GOOD, {'prompt': 'c'}]},
      r'shot 2, segments\[2\].chunks or .secs',
    ),
    ({'segments': [GOOD | {'secs': 1}]}, 'only one'),
    ({'segments': [GOOD | {'chunks': 0}]}, r'\[0\].chunks is 0'),
    ({'segments': [GOOD | {'chunks': True}]}, r'\[0\].chunks has a wrong'),
    ({'segments': [GOOD | {'cut': 'no'}]}, r'\[0\].cut has a wrong type'),
    ({'segments': [GOOD | {'promt': 'a'}]}, 'promt; is it prompt'),
    ({'segments': [GOOD | {'chunks': 10**9}]}, r'\[0\].chunks is 1000000000'),
    ({'segments': [{'prompt': 'a', 'secs': 1e300}]}, r'\[0\].secs is 1e\+300'),
    ({'segments': [{'prompt': 'a', 'secs': math.nan}]}, r'\[0\].secs is nan'),
    ({'segments': [GOOD | {'guidance': 10**400}]}, r'\[0\].guidance is 1000'),
    ({'segments': [GOOD | {'prompt': 'a\udc80'}]}, 'half a character'),
    ({'prompts': 'a'}, 'film.json: prompts must be a list'),
    ({'prompts': ['a', '']}, r'shot 0, segments\[1\].prompt'),
  ],
)
def test_errors_name_file_shot_and_field(tmp_path, document, message):
  with pytest.raises(UserError, match=message):
    screenplay.load(_write(tmp_path / 'film.json', document))


@pytest.mark.parametrize(('much', 'of'), [('[', 100_000), ('9', 5_000)])
def test_json_beyond_a_parser_is_a_sentence(tmp_path, much, of):
  path = _write(tmp_path / 'film.json', much * of)
  with pytest.raises(UserError, match='is not JSON'):
    screenplay.load(path)


@pytest.mark.parametrize('length', [{'chunks': 4_000}, {'secs': 4_000}])
def test_the_segments_of_a_film_that_is_too_long_may_each_be_right(length):
  document = {'segments': [{'prompt': 'a'} | length] * 3}
  film = screenplay.parse(document, 'my film')
  with pytest.raises(UserError, match='my film: has 12000 chunks'):
    screenplay.chunk_prompts(film, SCENE, 1.0)


def test_errors_of_other_formats(tmp_path):
  with pytest.raises(UserError, match='cannot be read'):
    screenplay.load(tmp_path / 'none.json')
  with pytest.raises(UserError, match=r'films\.jsonl line 2: is not JSON'):
    screenplay.load(_write(tmp_path / 'films.jsonl', '{"prompts": ["a"]}\n{'))
  with pytest.raises(UserError, match='holds no film'):
    screenplay.load(_write(tmp_path / 'empty.txt', '\n'))
  with pytest.raises(UserError, match='shot 1 has an empty per shot caption'):
    text = '[global caption] g [per shot caption] a [shot cut] '
    screenplay.load(_write(tmp_path / 'holo.txt', text))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='holds no screenplay'):
    screenplay.load(tmp_path / 'empty')


def test_errors_of_shot_folders(tmp_path):
  with pytest.raises(UserError, match=r'1\.json: shot 1 lacks a text'):
    screenplay.load(_shots(tmp_path / 'a', ['x', ''], (1, 1)))
  with pytest.raises(UserError, match='1 lengths for 2 shots'):
    screenplay.load(_shots(tmp_path / 'b', ['x', 'y'], (1,)))
  with pytest.raises(UserError, match=r'shot 1 lasts .1\.5.'):
    screenplay.load(_shots(tmp_path / 'c', ['x', 'y'], (1, 1.5)))
  with pytest.raises(UserError, match='no lengths'):
    screenplay.load(_shots(tmp_path / 'd', ['x']))
  gap = _shots(tmp_path / 'e', ['x'], (1,))
  _write(gap / '2.json', {'caption': 'z'})
  with pytest.raises(UserError, match='shot 1 is missing'):
    screenplay.load(gap)
