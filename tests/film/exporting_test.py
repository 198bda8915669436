"""Films in the formats of other projects, and back."""

import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.exporting import FORMATS, write_films
from cinejax.film.screenplay import Film, Segment

SECS = {'storymem': 81 / 16, 'dreamverse': 121 / 24, 'longlive': 10.0}


def _film(to):
  """A film that the format can express whole."""
  cut = to not in ('scope', 'dreamverse', 'longlive')
  shared = 'A hill.' if to in ('cinejax', 'shotstream', 'holocine') else ''
  length = {'secs': SECS.get(to, 49 / 16)}
  if to == 'longlive2':
    length = {'chunks': 3}
  elif to == 'holocine':
    length = {'secs': 4.0}
  return Film(
    tuple(
      Segment(prompt, cut=cut, global_prompt=shared, **length)
      for prompt in ('a fox', 'Zoë "runs"', 'it ends')
    )
  )


def _seen(film):
  """What a viewer sees: the first cut is none."""
  return [
    (s.full_prompt, s.secs and round(s.secs, 6), s.chunks, bool(s.cut and i))
    for i, s in enumerate(film.segments)
  ]


@pytest.mark.parametrize('to', [to for to in FORMATS if to != 'prompts'])
def test_there_and_back(tmp_path, to, capsys):
  film = _film(to)
  (path,) = write_films([film], to, tmp_path, 'a', 0.75)
  (back,) = screenplay.load(path)
  assert _seen(back) == _seen(film)
  assert not capsys.readouterr().err


@pytest.mark.parametrize('to', ['longlive', 'prompts', 'storymem', 'longlive2'])
def test_several_films(tmp_path, to):
  films = [Film((Segment(p, secs=10.0),)) for p in ('a', 'b', 'c')]
  paths = write_films(films, to, tmp_path, 'a', 0.75)
  back = [film for path in paths for film in screenplay.load(path)]
  assert [film.segments[0].prompt for film in back] == ['a', 'b', 'c']


def test_what_is_lost_is_reported(tmp_path, capsys):
  film = Film(
    (Segment('a', secs=1.0), Segment('b', chunks=2, blend_chunks=1, steps=2)),
    source='mine',
  )
  write_films([film], 'dreamverse', tmp_path, 'a', 0.75)
  assert capsys.readouterr().err == (
    'note: mine: Dreamverse has no counterpart of cuts, lengths other than '
    '5.042 seconds, policy, steps and other settings, blend_chunks\n'
  )
  with pytest.raises(UserError, match='mine: has 2 segments'):
    write_films([film], 'prompts', tmp_path, 'a', 0.75)
