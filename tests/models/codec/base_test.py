import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.models.codec import base
from cinejax.models.codec.taef2 import Taef2


def test_every_byte_survives_the_trip():
  bytes_ = np.arange(256, dtype=np.uint8)
  pixels = base.from_bytes(bytes_)
  assert float(pixels[0]) == -1.0 and float(pixels[-1]) == 1.0
  np.testing.assert_array_equal(base.to_bytes(pixels), bytes_)


def test_pixels_out_of_range_are_clipped():
  np.testing.assert_array_equal(
    base.to_bytes(jnp.array([-3.0, 3.0])), np.array([0, 255], np.uint8)
  )


def test_normalise_and_back():
  params = {'mean_C': jnp.array([1.0, -2.0]), 'std_C': jnp.array([0.5, 4.0])}
  raw_BFYXC = jnp.arange(8.0).reshape(1, 2, 1, 2, 2)
  z_BFYXC = base.normalise(params, raw_BFYXC)
  np.testing.assert_allclose(z_BFYXC[0, 0, 0, 0], [-2.0, 0.75])
  np.testing.assert_allclose(base.denormalise(params, z_BFYXC), raw_BFYXC)


def test_a_video_that_does_not_fit_is_refused_with_advice():
  with pytest.raises(UserError, match='multiples of 8'):
    base.check_video(Taef2(), jnp.zeros((1, 1, 12, 16, 3)))
