import numpy as np
import pytest

from cinejax.models.codec.components import equal_variance_rotation


@pytest.mark.parametrize(
  'variance_C',
  [
    np.array([2.0]),
    np.ones(4),
    np.array([9.0, 1.0]),
    np.array([3.0, 1.0, 0.5, 0.2, 1e-6]),
    2.0 ** -np.arange(16),
  ],
)
def test_channels_vary_alike_after_a_rotation(variance_C):
  turn_CC = equal_variance_rotation(variance_C).astype(np.float64)
  channels = len(variance_C)
  np.testing.assert_allclose(turn_CC.T @ turn_CC, np.eye(channels), atol=1e-6)
  assert np.linalg.det(turn_CC) > 0
  after_C = np.diag(turn_CC.T @ np.diag(variance_C) @ turn_CC)
  np.testing.assert_allclose(after_C, variance_C.mean(), rtol=1e-4)
