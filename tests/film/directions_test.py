import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.directions import Directions, parse
from cinejax.film.screenplay import Segment


def _directed(lines, report_error=None, error=None):
  """Chunk prompts and film of lines that come when they are asked for."""
  lines = iter(lines)
  directions = Directions(
    lambda wait: next(lines, None), 'Cut to: ', report_error
  )
  prompts = list(directions)
  assert error in str(directions.error) if error else not directions.error
  return prompts, directions.film(7)


@pytest.mark.parametrize(
  ('line', 'segment'),
  [
    ('Ada runs', Segment('Ada runs', chunks=1, cut=False)),
    ('cut: Ada runs\n', Segment('Ada runs', chunks=1, cut=True)),
    ('CUT :Ada runs * 3', Segment('Ada runs', chunks=3, cut=True)),
    ('2 * 3 is six', Segment('2 * 3 is six', chunks=1, cut=False)),
    ('cutting: a cake*2', Segment('cutting: a cake', chunks=2, cut=False)),
  ],
)
def test_lines(line, segment):
  assert parse(line) == segment


@pytest.mark.parametrize('line', ['cut:', 'cut: * 3', '* 2', 'Ada * 0'])
def test_a_line_that_asks_for_nothing_is_refused(line):
  with pytest.raises(UserError):
    parse(line)


def test_a_prompt_is_held_until_the_next_line():
  prompts, film = _directed(
    ['Ada', '', '', 'cut: Ben * 2', '', 'Ben runs', None]
  )
  assert [chunk.prompt for chunk in prompts] == [
    *['Ada'] * 3,
    *['Cut to: Ben', 'Ben', 'Ben'],
    'Ben runs',
  ]
  assert [chunk.shot for chunk in prompts] == [0, 0, 0, 1, 1, 1, 1]
  assert [chunk.cut for chunk in prompts] == [False] * 3 + [True] + [False] * 3
  assert [segment.chunks for segment in film.segments] == [3, 3, 1]


def test_a_line_is_not_read_before_its_time():
  asked = []

  def next_line(wait):
    asked.append(wait)
    return 'Ada * 3' if len(asked) == 1 else None

  prompts = list(Directions(next_line, '', print))
  assert len(prompts) == 3 and asked == [True, False]


def test_what_was_directed_is_a_screenplay(tmp_path):
  lines = ['cut: Ada * 2', 'cut: Ben', '', 'Ben runs * 2', 'cut: Ada', None]
  prompts, film = _directed(lines)
  screenplay.save(film, tmp_path / 'film.json')
  (again,) = screenplay.load(tmp_path / 'film.json')
  assert screenplay.chunk_prompts(again, 'Cut to: ', 1.0) == tuple(prompts)
  assert again.seed == 7


def test_a_film_ends_before_a_line_that_cannot_be_used():
  lines = ['Ada * 2', 'cut:', 'Ben', None]
  prompts, film = _directed(lines, error='says nothing to be seen')
  assert [chunk.prompt for chunk in prompts] == ['Ada', 'Ada']
  assert [segment.prompt for segment in film.segments] == ['Ada']


def test_a_film_has_an_end():
  prompts, _ = _directed(['Ada * 10000', None])
  assert len(prompts) == 10_000
  prompts, film = _directed(['Ada'] + [''] * 20_000, print, 'at most')
  assert len(prompts) == film.segments[0].chunks == 10_000


def test_a_line_that_cannot_be_used_is_reported_and_skipped():
  errors = []
  prompts, _ = _directed(['Ada', 'cut:', '\n', 'Ben', None], errors.append)
  assert [chunk.prompt for chunk in prompts] == ['Ada', 'Ben']
  assert len(errors) == 1 and 'cut:' in str(errors[0])


def test_a_prompt_that_a_model_cannot_take_is_skipped_too():
  def check(prompt):
    if prompt == 'Ben':
      raise UserError('no Ben here')

  errors, lines = [], iter(['Ada', 'cut: Ben', 'Cem', None])
  prompts = Directions(lambda wait: next(lines), '', errors.append, check)
  assert [chunk.prompt for chunk in prompts] == ['Ada', 'Cem']
  assert [str(error) for error in errors] == ['no Ben here']
