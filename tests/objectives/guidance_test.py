"""Films cut into chunks, weighted means, and the guided velocity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.objectives import guidance

NEGATIVE = jnp.full((1, 1), 2.0)  # [W, D]


def _films(**changes):
  """One film of two chunks of two frames; the second chunk is padding."""
  batch = {
    'latents': jnp.arange(4.0).reshape(1, 4, 1, 1, 1),
    'text': jnp.full((1, 2, 1, 1), 5.0),
    'mask': jnp.array([[1.0, 0.0]]),
    'shots': jnp.array([[0, -1]]),
  }
  return guidance.films(batch | changes, 2)


def test_latents_are_cut_into_chunks():
  films = _films()
  assert films.shape_BNF == (1, 2, 2) and films.weight_BNFYXC is None
  assert films.clean_BNFYXC.reshape(2, 2).tolist() == [[0, 1], [2, 3]]


def test_the_mean_leaves_padding_out_and_repeats_for_copies():
  films = _films()
  error = jnp.array([[1.0, 100, 3, 100]]).reshape(1, 4, 1, 1, 1, 1)
  assert films.mean(error) == 2
  empty = _films(mask=jnp.zeros((1, 2)))
  assert empty.mean(error) == 0


def test_weights_count_in_errors_of_pixels_alone():
  weight = jnp.array([3.0, 1, 1, 1]).reshape(1, 4, 1, 1, 1)
  films = _films(weight=weight)
  error = jnp.array([2.0, 6, 0, 0]).reshape(1, 2, 2, 1, 1, 1)
  assert films.mean(error) == 3  # (3 * 2 + 1 * 6) / 4
  assert films.mean(jnp.array([[4.0, 0.0]])) == 4


@pytest.mark.parametrize('weight', [0.0, 1.0, 3.0])
def test_guidance_leads_from_the_negative_prompt(weight):
  calls = []

  def film_fn(params, clean, x, t, text, shots, key, ranks=None):
    calls.append(ranks)
    scale = text[..., None, None]  # [B, N, 1, 1, 1, 1]
    return params * scale * x, 'ranks of the prompted pass'

  x = jnp.ones((1, 2, 2, 1, 1, 1))
  fn = guidance.guided(film_fn, _films(), jax.random.key(0), NEGATIVE, weight)
  np.testing.assert_allclose(fn(0.5, x, None), (1 + weight * 1.5) * x)
  expected = [None] if weight == 1 else [None, 'ranks of the prompted pass']
  assert calls == expected
