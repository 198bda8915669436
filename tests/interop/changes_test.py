"""Changes of weights where their formulas have no value."""

import types

import numpy as np

from cinejax.interop.changes import Decomposed


def test_a_row_of_zeros_has_no_direction_in_dora():
  whole = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
  whole[:, 1] = 0  # an output without weights
  nothing = types.SimpleNamespace(part=lambda whole, index: 0)
  change = Decomposed(nothing, np.ones((1, 3), np.float32), 1.0)
  after = whole + change.part(lambda: whole, (slice(None), slice(None)))
  np.testing.assert_allclose(np.linalg.norm(after, axis=0), [1, 0, 1], 1e-6)
