"""A base learns from another what prompts of a new form mean."""

import jax
import jax.numpy as jnp

from cinejax.diffusion.config import DiffusionConfig
from cinejax.objectives.retelling import make_retelling_loss
from tests.objectives.batches import CHUNKS, FRAMES, film_batch

ROWS = 2  # that only the new form has


def _reads(params, clean, noisy, t, text, shots, key):
  """A network whose velocity depends on all that it is given."""
  said = text[:, :, :5].sum((2, 3)) + params
  said = jnp.tile(said, (1, noisy.shape[1] // CHUNKS))
  v = noisy + t[..., None, None, None] * clean.mean()
  return v * said[:, :, None, None, None, None], None


def _retells(params, clean, noisy, t, text, shots, key):
  """The same, but half of what it reads stands in the other rows."""
  said = 0.5 * text[:, :, :5] + 0.5 * text[:, :, 5:].mean(2, keepdims=True)
  return _reads(params, clean, noisy, t, said, shots, key)


def _loss(batch, drop_text=0.0, teller=0.5):
  loss_fn = make_retelling_loss(
    _retells,
    _reads,
    DiffusionConfig(shift=5.0, time_per='chunk', copies=2),
    frames=FRAMES,
    negative_text_WD=jnp.zeros((5 + ROWS, 6)),
    drop_text=drop_text,
  )
  given = {'teller': jnp.asarray(teller)}
  return loss_fn(jnp.float32(0.5), batch, jax.random.key(1), given)[0]


def _batch(mask=None):
  batch = film_batch(mask)
  text = jnp.pad(batch['text'], ((0, 0), (0, 0), (0, ROWS), (0, 0)))
  return batch | {'text': text.at[:, :, 5:].set(1.0), 'told': batch['text']}


def test_who_says_the_same_has_no_loss():
  assert _loss(_batch()) < 1e-6
  assert _loss(_batch(), teller=0.6) > 1e-3
  assert _loss(_batch() | {'told': 2 * _batch()['told']}) > 1e-3


def test_padding_has_no_loss():
  told = _batch()['told'].at[:, -1].set(2.0)
  mask = jnp.ones((2, CHUNKS)).at[:, -1].set(0)
  assert _loss(_batch(mask) | {'told': told}) < 1e-6
  assert _loss(_batch() | {'told': told}) > 1e-3


def test_both_read_the_negative_prompt_of_a_dropped_film():
  different = _batch() | {'told': 2 * _batch()['told']}
  assert _loss(different, drop_text=1.0) < 1e-6


def test_the_teller_is_not_trained():
  assert jax.grad(lambda teller: _loss(_batch(), teller=teller))(0.6) == 0
