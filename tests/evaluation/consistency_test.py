import numpy as np
import pytest

from cinejax.evaluation import consistency


def _noise(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _flat_features(video_TYXC):
  return video_TYXC.reshape(len(video_TYXC), -1).astype(np.float64)


def test_a_still_is_perfectly_steady():
  still = _noise(1, 16, 16, 3).repeat(6, 0)
  assert consistency.intra_shot(still, ()) == pytest.approx(1)
  assert consistency.inter_shot(still, (2, 4)) == pytest.approx(1)
  assert consistency.flicker(still) == 1
  assert consistency.motion(still) == 0


def test_subject_consistency_by_hand():
  features = np.array([[2.0, 0], [1, 1], [0, 3], [-3, 0]])
  # Cosines to the frame before and to the first one; negative ones are 0.
  root = np.sqrt(0.5)
  want = np.mean([(root + root) / 2, (root + 0) / 2, (0 + 0) / 2])
  assert consistency.subject_consistency(features) == pytest.approx(want)
  scaled = features * np.array([[5], [0.1], [7], [1]])
  assert consistency.subject_consistency(scaled) == pytest.approx(want)
  assert consistency.subject_consistency(features[:1]) is None


def test_intra_shot_ignores_what_changes_at_cuts():
  a, b = _noise(1, 16, 16, 3), _noise(1, 16, 16, 3, seed=1)
  film = np.concatenate([a.repeat(3, 0), b.repeat(5, 0)])
  assert consistency.intra_shot(film, (3,)) == pytest.approx(1)
  assert consistency.intra_shot(film, ()) < 0.9
  assert consistency.flicker(film, (3,)) == 1
  assert consistency.flicker(film) < 1
  assert consistency.motion(film, (3,)) == 0


def test_intra_shot_is_the_mean_over_frames_not_over_shots():
  film = _noise(7, 4, 4, 3)
  terms = [
    (consistency.subject_consistency(_flat_features(shot)), len(shot) - 1)
    for shot in (film[:2], film[2:])
  ]
  want = sum(score * n for score, n in terms) / sum(n for _, n in terms)
  got = consistency.intra_shot(film, (2,), _flat_features)
  assert got == pytest.approx(want)


def test_inter_shot_is_the_mean_over_pairs():
  axes = np.array([[1.0, 0], [0, 1], [1, 1]])
  film = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)

  def features(video):
    return axes[video.ravel()]

  got = consistency.inter_shot(film, (1, 2), features)
  assert got == pytest.approx((0 + np.sqrt(0.5) + np.sqrt(0.5)) / 3)
  assert consistency.inter_shot(film, (), features) is None


def test_an_opposite_frame_is_no_consistency_but_a_negative_pair():
  frame = _noise(1, 16, 16, 3)
  film = np.concatenate([frame, 255 - frame])
  assert consistency.intra_shot(film, ()) == 0
  assert consistency.inter_shot(film, (1,)) == pytest.approx(-1, abs=1e-2)


def test_features_ignore_brightness_and_flat_frames_have_none():
  frame = _noise(1, 16, 16, 3) // 2
  dark, light = map(consistency.pixel_features, (frame, frame + 60))
  np.testing.assert_allclose(dark, light, atol=1e-9)
  assert dark.shape == (1, 192)
  flat = np.full((3, 16, 16, 3), 90, np.uint8)
  assert consistency.intra_shot(flat, ()) == 0


def test_flicker_and_motion_by_hand():
  film = np.zeros((3, 10, 10, 3), np.uint8)
  film[1, :1, :1] = 255  # a hundredth of a frame lights up and goes out
  assert consistency.flicker(film) == pytest.approx(0.99)
  assert consistency.motion(film, part=0.01) == pytest.approx(1)
  assert consistency.motion(film, part=0.02) == pytest.approx(0.5)
  assert consistency.motion(film[::-1]) == consistency.motion(film)
  assert consistency.flicker(film[:1]) is None
  assert consistency.motion(film[:1]) is None


def test_shots_cover_the_film():
  film = _noise(9, 2, 2, 3)
  shots = consistency.shots_of(film, (4, 6))
  assert [len(shot) for shot in shots] == [4, 2, 3]
  np.testing.assert_array_equal(np.concatenate(shots), film)
