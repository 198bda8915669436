import dataclasses
import functools

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.evaluation import comparison
from cinejax.film import media
from cinejax.film.journal import Film, Segment
from cinejax.film.screenplay import chunk_prompts
from cinejax.film.side_by_side import SideBySide
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from configs import tiny
from tests.networks import numpy_params

POLICIES = ('camr', 'sink', 'window')
FILM = Film(
  (
    Segment('Ada jumps in the cave, wide shot', chunks=2),
    Segment('a dog', chunks=1),
    Segment('a dog runs', chunks=1, cut=False),
    Segment('Ada', chunks=1),
  ),
  title='Ada',
)


def _config(policy):
  config = tiny.get_config()
  config.film.height = config.film.width = 16
  config.dit.layers = 1
  config.rollout.guidance = 1.0
  config.memory.policy = policy
  return resolve(config)


@pytest.fixture(scope='module')
def director():
  cfg = _config('uniform')
  codec, init = make_codec(cfg.codec), denoiser.init_params
  params = numpy_params(functools.partial(init, cfg.dit))
  return Director(cfg, codec, numpy_params(codec.init), params)


@pytest.fixture(scope='module')
def compared(director, tmp_path_factory):
  """The report of a comparison, and the pages of its video."""
  pages = []

  def write_video(path, frames, fps):
    pages.extend(frames)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(media, 'write_video', write_video)
    folder = tmp_path_factory.mktemp('compared')
    report = comparison.compare(director, POLICIES, FILM, folder, 5)
  assert (folder / 'contact_sheet.png').is_file()
  return report, pages


@pytest.mark.parametrize('number', range(3))
def test_each_film_is_the_one_of_its_policy_alone(director, compared, number):
  cfg = _config(POLICIES[number])
  alone = dataclasses.replace(director, cfg=cfg)
  prompts = chunk_prompts(FILM, cfg.film.cut_prefix, 1.0)
  rolled = alone.roll(([prompt] for prompt in prompts), [5])
  video_TYXC = np.concatenate([video_BTYXC[0] for video_BTYXC in rolled])
  place = SideBySide(POLICIES, 16, 16).place(number)
  pages = np.stack(compared[1])[:, *place][:, ::16, ::16]
  np.testing.assert_array_equal(pages, video_TYXC)


def test_the_report_says_what_each_memory_read(compared):
  report, pages = compared
  assert (report['shots'], report['frames']) == (3, len(pages))
  memory = {p: report['policies'][p]['memory'] for p in POLICIES}
  assert all(len(chunks) == 5 for chunks in memory.values())
  assert memory['window'][4]['words'] == (
    'It read the last 6 latent frames and nothing older.'
  )
  assert memory['sink'][4]['frames'] == [[0, 1.0]]
  assert 'shot 0 at 0.0 s (100 %)' in memory['sink'][4]['words']
  assert len(memory['camr'][4]['frames']) >= 2
  assert report['policies']['sink']['sca'] is not None


def test_the_films_differ(compared):
  _, pages = compared
  page = SideBySide(POLICIES, 16, 16)
  last = [pages[-1][page.place(number)] for number in range(3)]
  assert not np.array_equal(last[0], last[2])


@pytest.mark.parametrize(
  ('text', 'sentence'),
  [
    ('camr', 'names 1 different policies; give 2 to 4'),
    ('camr,sink,camr', 'names 2 different policies'),
    ('camr,window,sink,full,random', 'names 5 different'),
    ('camr,windw', "no memory policy 'windw'; take 2 to 4 of camr, window"),
    ('camr,', "no memory policy ''"),
  ],
)
def test_other_policies_are_refused(text, sentence):
  with pytest.raises(UserError, match=sentence):
    comparison.parse_policies(text)


def test_spaces_between_policies_are_ignored():
  assert comparison.parse_policies('camr, window') == ('camr', 'window')


def test_a_film_that_chooses_its_policy_is_refused():
  segments = (Segment('a', chunks=1), Segment('b', chunks=1, policy='sink'))
  with pytest.raises(UserError, match=r'shot 1, segments\[1\].policy is sink'):
    comparison.check(Film(segments))
  comparison.check(FILM)


def test_a_comparison_continues_a_clip(director, tmp_path):
  given_BFYXC = jax.numpy.zeros((1, 6, *director.latent_shape[1:]))
  report = comparison.compare(
    director, ('camr', 'window'), FILM, tmp_path, 0, given_BFYXC
  )
  assert report['frames'] == director.timeline.pixel_frames(7)
  assert [read['chunk'] for read in report['policies']['camr']['memory']] == [
    *range(2, 7)
  ]
  assert media.probe(tmp_path / 'film.mp4').frames == report['frames']
