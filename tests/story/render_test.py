"""Pixels depend on the film and on nothing else, and move as asked."""

import numpy as np
import pytest

from cinejax.film.timeline import Timeline
from cinejax.story import casting, motion, places, render, sprites, world

_LINE = Timeline(3, 4, world.FPS)


def _segment(action, chunks=2, cut=False, size=0, camera=0, place=0):
  return world.StorySegment(
    0, place, size, camera, world.ACTIONS.index(action), chunks, cut
  )


def _film(*segments):
  return world.StoryFilm(11, segments, tuple(range(len(world.CHARACTERS))))


@pytest.mark.parametrize('frames_per_chunk, stride', [(3, 4), (1, 1), (3, 1)])
def test_frames_of_a_film(frames_per_chunk, stride):
  film = casting.cast('train', 1, 2)
  video_TYXC = render.render(film, frames_per_chunk, stride)
  frames = stride * (frames_per_chunk * film.chunks - 1) + 1
  assert video_TYXC.shape == (frames, 64, 64, 3)
  assert video_TYXC.dtype == np.uint8


def test_rendering_is_bit_identical_however_batched():
  films = [casting.cast('eval', 2, index) for index in range(3)]
  batch = render.render_batch(films, block=48)
  for film, video_TYXC in zip(films, batch, strict=True):
    np.testing.assert_array_equal(video_TYXC, render.render(film))


@pytest.mark.parametrize('kind', ['eval', 'strict'])
def test_swapping_an_appearance_changes_only_its_own_frames(kind):
  film = casting.cast(kind, 4, 1)
  event = film.events[0]
  appearance = render.spare_appearances(film)[0]
  swapped = render.swap_appearance(film, event.character, appearance)
  differs_T = np.any(
    render.render(film) != render.render(swapped), axis=(1, 2, 3)
  )
  own_T = [
    film.chunk_characters()[_LINE.chunk_of_pixel(t)] == event.character
    for t in range(len(differs_T))
  ]
  np.testing.assert_array_equal(differs_T, own_T)


def test_a_taken_appearance_is_refused():
  film = casting.cast('eval', 4, 1)
  with pytest.raises(ValueError, match='taken'):
    render.swap_appearance(film, 0, film.appearances[1])


def test_the_path_is_smooth_where_an_action_changes():
  film = _film(
    _segment('runs right'),
    _segment('walks left', 1),
    _segment('jumps', 1),
    _segment('stands', 1),
  )
  states = motion.describe(film)
  assert np.abs(np.diff(states.x)).max() <= motion.RUN + 1e-5
  per_frame = motion.JUMP * sprites.BODY[0] * np.pi / 9
  assert np.abs(np.diff(states.lift)).max() <= per_frame
  turn = _LINE.chunk_start_pixel(2)
  assert states.x[turn - 1] > states.x[0]
  assert states.x[_LINE.chunk_start_pixel(3) - 1] < states.x[turn - 1]


def test_sprites_stay_in_the_picture():
  for index in range(40):
    states = motion.describe(casting.cast('train', 5, index))
    low, high = np.transpose([motion.x_range(size) for size in states.size])
    assert np.all(states.x >= low - 1e-4)
    assert np.all(states.x <= high + 1e-4)
    assert states.offset.max() < places.MAX_PAN
    top = np.take(sprites.SOLE, states.size) - np.take(
      sprites.BODY, states.size
    )
    assert np.all(top - states.lift > 0)


def test_only_the_camera_moves_the_place():
  still = render.render(_film(_segment('stands', 3)))
  pan = render.render(_film(_segment('stands', 3, camera=1)))
  corner = np.s_[:, :12, :8]
  assert np.all(still[corner] == still[corner][:1])
  assert np.any(pan[-1][:12] != pan[0][:12])
  # Whole pixels of travel crop the same strip.
  np.testing.assert_array_equal(pan[20, :12, :40], pan[0, :12, 10:50])


def test_padding_repeats_the_last_state():
  film = _film(_segment('runs right'))
  short, padded = motion.describe(film), motion.describe(film, frames=50)
  assert len(padded.x) == 50
  np.testing.assert_array_equal(padded.x[: len(short.x)], short.x)
  assert np.all(padded.x[len(short.x) :] == short.x[-1])


def test_places_are_apart_in_colour():
  """Mean colours of rows differ more than a codec's error, in every size."""
  rows = places.atlas()[:, :, 0].mean(3)
  for a in range(len(world.PLACES)):
    for b in range(a):
      gap = np.abs(rows[a][:, None] - rows[b][None]).mean((2, 3))
      assert gap.min() > 0.08, (world.PLACES[a], world.PLACES[b])


def test_cuts_are_found_and_motion_is_not():
  detectors = pytest.importorskip('scenedetect.detectors')
  scenedetect = pytest.importorskip('scenedetect')
  for index in range(8):
    film = casting.cast('eval', 6, index)
    detector = detectors.ContentDetector(threshold=27, min_scene_len=8)
    found = []
    for number, image_YXC in enumerate(render.render(film)):
      code = scenedetect.FrameTimecode(number, float(world.FPS))
      bgr_YXC = np.ascontiguousarray(image_YXC[..., ::-1])
      found += [c.frame_num for c in detector.process_frame(code, bgr_YXC)]
    starts = np.cumsum([0, *(s.chunks for s in film.segments)])
    asked = [
      _LINE.chunk_start_pixel(int(start))
      for start, segment in zip(starts, film.segments, strict=False)
      if segment.cut
    ]
    assert found == asked
