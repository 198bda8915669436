import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.evaluation.metrics import cuts
from cinejax.evaluation.metrics.cuts import detect_cuts
from cinejax.film import media

SINTEL_CUTS = (76, 121, 319, 457, 545, 611)


def _still_shots(lengths):
  rng = np.random.default_rng(1)
  shots = rng.integers(0, 256, (len(lengths), 6, 8, 3))
  frames = shots.repeat(8, 1).repeat(8, 2).repeat(lengths, 0)
  return frames.astype(np.uint8)


def test_cuts_of_arrays_and_iterators():
  video = _still_shots([10, 20, 9, 30])
  assert detect_cuts(video) == (10, 30, 39)
  assert detect_cuts(iter(video)) == (10, 30, 39)
  assert detect_cuts(video[:10]) == ()


def test_colour_channels_reach_the_detector_in_order():
  # Value and saturation agree; only the hue tells these from each other,
  # and it differs by 20 of 180 or by 160, whichever channel comes first.
  frames = np.zeros((24, 8, 8, 3), np.uint8)
  frames[:12], frames[12:] = (255, 85, 0), (255, 0, 85)
  assert detect_cuts(frames, cuts.ContentDetector(threshold=45)) == (12,)
  swapped = np.ascontiguousarray(frames[..., ::-1])
  assert detect_cuts(swapped, cuts.ContentDetector(threshold=45)) == ()


def test_sintel_cuts_exactly(shared_data):
  path = shared_data / 'videos' / 'sintel_rooftop_7shots_848x480_25fps.mp4'
  assert detect_cuts(media.read_frames(path)) == SINTEL_CUTS


def test_a_cut_is_the_frame_after_a_run():
  high = np.array([0, 0, 1, 0, 0, 1, 1, 1, 0, 1], bool)
  assert cuts.ends_of_runs(high) == (3, 8)
  assert cuts.ends_of_runs(~high) == (5, 9)  # the first run opens the film
  assert cuts.ends_of_runs(np.ones(4, bool)) == ()
  assert cuts.ends_of_runs(np.zeros(0, bool)) == ()


@pytest.mark.parametrize('frames', [1, 30, 50, 51, 149])
def test_windows_of_transnet_cover_every_frame_once(monkeypatch, frames):
  # a network that says the red of its frame, and where in a window it is
  windows = []

  def apply(params, window_BTYXC):
    assert params == 'weights'
    windows.append(window_BTYXC[0, :, 0, 0, 0].astype(int))
    return window_BTYXC[:, :, 0, 0, 0] / 100.0

  monkeypatch.setattr(cuts, '_apply', apply)
  detector = cuts.TransNetDetector('weights')
  for red in range(frames):
    detector.add_frame(np.full((54, 96, 3), (red, 0, 0), np.uint8))
  want = 1 / (1 + np.exp(-np.arange(frames) / 100))
  np.testing.assert_allclose(detector.probabilities(), want, rtol=1e-6)
  assert len(windows) == -(-frames // 50)
  for number, window in enumerate(windows):
    wanted = np.arange(100) + 50 * number - 25
    np.testing.assert_array_equal(window, wanted.clip(0, frames - 1))


def test_transnet_cuts_where_it_is_sure(monkeypatch):
  monkeypatch.setattr(
    cuts, '_apply', lambda _, window: window[:, :, 0, 0, 0] - 100.0
  )
  film = np.zeros((60, 27, 48, 3), np.uint8)
  film[[19, 40, 41]] = 200
  assert detect_cuts(film, cuts.TransNetDetector(None)) == (20, 42)


@pytest.mark.parametrize(
  ('spec', 'sentence'),
  [
    ('optical', 'is optical; it must be content or transnetv2:FILE'),
    ('transnetv2', 'is transnetv2; it must be'),
    ('transnetv2:none.pth', 'there is no weights file none.pth'),
  ],
)
def test_detectors_that_are_not_available_are_refused(spec, sentence):
  with pytest.raises(UserError, match=sentence):
    cuts.make_detector_fn(spec)


def test_every_film_gets_a_new_detector():
  make = cuts.make_detector_fn('content')
  video = _still_shots([10, 20])
  assert [detect_cuts(video, make()) for _ in range(2)] == [(10,), (10,)]
