"""Benchmark cases: their films, batches, noise and scores."""

import types

import numpy as np
import pytest

from cinejax.directing.loading import load_director
from cinejax.directing.rollout_programs import RolloutPrograms
from cinejax.evaluation import saved_films, suite
from cinejax.evaluation.metrics.film import Instruments
from cinejax.film.screenplay import Film, Segment
from cinejax.film.timeline import Timeline
from cinejax.story import casting
from tests.evaluation.cases import make_cfg
from tests.networks import save_networks


@pytest.fixture
def weights(tmp_path):
  save_networks(make_cfg(), tmp_path / 'weights')
  return tmp_path / 'weights'


def test_absences_are_longer_than_the_configured_window():
  def cast(**changes):
    director = RolloutPrograms(make_cfg(**changes))
    return suite.cast_films(director, 4)

  wide = {'eval.window_frames': 12}
  assert cast(**wide) == cast(**wide, **{'memory.window_frames': 3})
  assert cast() != cast(**wide)


def test_noise_is_of_the_film_and_the_seed_alone(weights, monkeypatch):
  seen = []

  def roll(director, prompts, seeds, cast):
    seen.append(list(seeds))
    raise KeyboardInterrupt

  monkeypatch.setattr(suite.batches_lib, 'roll', roll)
  director = load_director(make_cfg(), str(weights))
  case = suite.BenchmarkCase(director, suite.cast_films(director, 5), None)
  for seed in (0, 1):
    for batch in ([0, 1], [1]):
      with pytest.raises(KeyboardInterrupt):
        case.score_batch('generated', batch, seed)
  (a, b), (c, d), (e, f), (g, h) = seen
  assert c == d == b and g == h == f  # batches are filled up
  assert len({a, b, e, f}) == 4
  assert a == make_cfg().eval.seed


def test_screenplays_are_scored_from_their_frames(
  weights, monkeypatch, tmp_path
):
  films = [
    Film((Segment('a cat', chunks=2), Segment('a dog', chunks=1)), seed=5),
    Film((Segment('a cow', chunks=1, steps=2), Segment('a fox', chunks=1))),
    Film((Segment('Ada stands in the cave, wide shot', chunks=2),)),
  ]
  seen = []

  def roll(director, prompts, seeds, cast):
    seen.append((len(prompts), *seeds))
    for chunk in range(max(map(len, prompts))):
      frames, grey = (12, 160) if chunk else (9, 0)  # cuts after chunk 0
      yield np.full((len(prompts), frames, 64, 64, 3), grey, np.uint8)

  monkeypatch.setattr(suite.batches_lib, 'roll', roll)
  case = suite.BenchmarkCase(
    load_director(make_cfg(), str(weights)), films, Instruments()
  )
  batches = case.batches('generated', [0, 1, 2])
  assert batches == [[2, 0], [1]]  # one changes its steps, so it is alone
  found = {}
  for batch in batches:
    found |= case.score_batch('generated', batch, 1, tmp_path)
  stride, own = 1 << 20, make_cfg().eval.seed
  alone = own + 1 + stride
  assert seen == [(2, own + 2 + stride, 5 + stride), (2, alone, alone)]
  assert found[1].values['sca'] == 1 and 'place' not in found[0].values
  assert found[0].values['transition_deviation'] == 12
  assert found[2].values['place'] is not None  # a prompt of the story world
  saved = {
    n: list(saved_films.read(saved_films.film_path(tmp_path, n), 64, 64))
    for n in found
  }
  assert [len(video) for _, video in sorted(saved.items())] == [33, 21, 21]
  assert abs(int(saved[0][20][5, 5, 0]) - 160) < 4


def test_batches_have_films_of_similar_length():
  cfg = make_cfg()
  director = types.SimpleNamespace(cfg=cfg, timeline=Timeline(3, 4, 8))
  films = [casting.cast('strict', 3, index) for index in range(5)]
  case = suite.BenchmarkCase(director, films, None)
  batches = case.batches('generated', [4, 2, 0, 3])
  assert [len(batch) for batch in batches] == [2, 2]
  lengths = [films[n].chunks for batch in batches for n in batch]
  assert lengths == sorted(lengths)
  pasts = [
    films[n].events[0].chunk for b in case.batches('swap', range(5)) for n in b
  ]
  assert pasts == sorted(pasts)
  assert case.batches('given', []) == []
