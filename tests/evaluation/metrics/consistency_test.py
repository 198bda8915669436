import numpy as np
import pytest

from cinejax.evaluation.metrics import consistency
from cinejax.evaluation.metrics.features import pixel_features


def _noise(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_a_still_image_is_perfectly_consistent():
  still = _noise(1, 16, 16, 3).repeat(6, 0)
  features = pixel_features(still)
  assert consistency.intra_shot(features, ()) == pytest.approx(1)
  assert consistency.inter_shot(features, (2, 4)) == pytest.approx(1)
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
  features = pixel_features(film)
  assert consistency.intra_shot(features, (3,)) == pytest.approx(1)
  assert consistency.intra_shot(features, ()) < 0.9
  assert consistency.flicker(film, (3,)) == 1
  assert consistency.flicker(film) < 1
  assert consistency.motion(film, (3,)) == 0


def test_intra_shot_is_the_mean_over_frames_not_over_shots():
  features = np.random.default_rng(0).random((7, 5))
  terms = [
    (consistency.subject_consistency(shot), len(shot) - 1)
    for shot in (features[:2], features[2:])
  ]
  want = sum(score * n for score, n in terms) / sum(n for _, n in terms)
  assert consistency.intra_shot(features, (2,)) == pytest.approx(want)


def test_inter_shot_is_the_mean_over_pairs():
  features = np.array([[1.0, 0], [0, 1], [1, 1]])
  got = consistency.inter_shot(features, (1, 2))
  assert got == pytest.approx((0 + np.sqrt(0.5) + np.sqrt(0.5)) / 3)
  assert consistency.inter_shot(features, ()) is None


def test_pairs_of_a_group_show_the_same():
  features = np.array([[1.0, 0], [0, 1], [1, 1], [0, 2]])
  cuts = (1, 2, 3)

  def of(*groups):
    return consistency.inter_shot(features, cuts, groups)

  assert of('a', 'b', 'a', 'b') == pytest.approx((np.sqrt(0.5) + 1) / 2)
  assert of('a', 'a', 'b', 'c') == 0
  assert of('a', 'b', 'c', 'd') is None
  assert of(None, None, None, None) is None


def test_frames_of_a_shot_have_equal_weight():
  # the mean direction, whatever the lengths of the features
  features = np.array([[9.0, 0], [0, 1], [1, 1]])
  assert consistency.inter_shot(features, (2,)) == pytest.approx(1)


def test_text_alignment_by_hand():
  # frames 0..15 of text 0: the middles of eight parts are the odd ones
  features = np.zeros((20, 2))
  features[:16:2], features[1:16:2] = (0, 1), (2, 0)
  features[16:] = (1, 1)
  got = consistency.text_alignment(
    features, [(0, 16), (16, 20)], np.array([[3.0, 0], [0, 1]])
  )
  assert got == pytest.approx((1 + np.sqrt(0.5)) / 2)


def test_opposite_frames_have_consistency_0_and_a_negative_cosine():
  frame = _noise(1, 16, 16, 3)
  features = pixel_features(np.concatenate([frame, 255 - frame]))
  assert consistency.intra_shot(features, ()) == 0
  assert consistency.inter_shot(features, (1,)) == pytest.approx(-1, abs=1e-2)


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
  shots = consistency.split_shots(film, (4, 6))
  assert [len(shot) for shot in shots] == [4, 2, 3]
  np.testing.assert_array_equal(np.concatenate(shots), film)


def test_keyframes_are_compared_between_shots_alone():
  # shots of 4 and 3 frames; only first, middle and last ones count
  features = np.array(
    [[1.0, 0], [9, 9], [0, 1], [1, 1], [0, 2], [3, 0], [1, 0]]
  )
  root = np.sqrt(0.5)
  cosines = [[0, 1, 1], [1, 0, 0], [root, root, root]]
  got = consistency.inter_keyframes(features, (4,))
  assert got == pytest.approx(np.mean(cosines))
  assert consistency.inter_keyframes(features, ()) is None


def test_related_shots_are_those_with_similar_prompts():
  rng = np.random.default_rng(0)
  features, text = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
  unit = features / np.linalg.norm(features, axis=1, keepdims=True)
  prompts = text / np.linalg.norm(text, axis=1, keepdims=True)
  pairs = [(a, b) for a in range(6) for b in range(a + 1, 6)]
  closest = sorted(pairs, key=lambda p: prompts[p[0]] @ prompts[p[1]])[-10:]
  want = np.mean([unit[a] @ unit[b] for a, b in closest])
  cuts = (1, 2, 3, 4, 5)
  got = consistency.inter_related(features, cuts, text)
  assert got == pytest.approx(want)
  assert got != pytest.approx(consistency.inter_shot(features, cuts))
  assert consistency.inter_related(features[:1], (), text[:1]) is None
