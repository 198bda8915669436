"""Supervised returns: the losses by hand, and the chunks that count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.models.route_scores import RouteScores
from cinejax.objectives import guidance, returns
from cinejax.objectives.alignment import label_loss
from cinejax.objectives.config import AlignmentConfig

CHUNKS, FRAMES = 3, 2
NAMES = jnp.array([[0, 0, 1, 1, 0, 0]])  # the first character returns
CFG = AlignmentConfig(
  weight=0.5, target='returns', layers=(0, 1), last_update=7, features=1
)

returns_loss = jax.jit(returns.returns_loss)


def _batch(mask=(1, 1, 1)):
  return {
    'latents': jnp.zeros((1, CHUNKS * FRAMES, 2, 2, 4)),
    'text': jnp.ones((1, CHUNKS, 1, 1)),
    'mask': jnp.array([mask], jnp.float32),
    'shots': jnp.arange(CHUNKS)[None],
    'labels': jnp.stack([jnp.full_like(NAMES, 9), NAMES], -1),
  }


def _scores(last):
  """[1, 3, 6]: only the last chunk has a past with and without its character.

  The scores of chunks and frames that may not count are large.
  """
  return jnp.full((1, CHUNKS, 6), 50.0).at[0, 2, :4].set(jnp.array(last))


# One head whose attention to the past is all on the character.
SURE = _scores([0.0, 0.0, -1e3, -1e3])[:, :, None]


def test_the_router_loss_is_of_the_share_of_frames_with_the_character():
  films = guidance.films(_batch(), FRAMES)
  scores = _scores([1.0, 2.0, 3.0, 4.0])
  loss, metrics = returns_loss(scores, SURE, NAMES, films)
  e = np.exp([1, 2, 3, 4])
  np.testing.assert_allclose(loss, -np.log(e[:2].sum() / e.sum()), rtol=1e-6)
  assert metrics == {'routed': 0.0, 'read': 1.0}
  copies = jnp.concatenate([scores, _scores([9.0, 2.0, 3.0, 4.0])], 1)
  sure = jnp.tile(SURE, (1, 2, 1, 1))
  both, metrics = returns_loss(copies, sure, NAMES, films)
  assert both < loss
  assert metrics['routed'] == 0.5


def test_the_attention_loss_is_of_the_share_averaged_over_heads():
  films = guidance.films(_batch(), FRAMES)
  router = SURE[:, :, 0]
  even = _scores([0.0] * 4)[:, :, None]
  attention = jnp.concatenate([SURE, even], 2)
  loss, metrics = returns_loss(router, attention, NAMES, films)
  np.testing.assert_allclose(loss, -np.log((1 + 0.5) / 2), rtol=1e-6)
  np.testing.assert_allclose(metrics['read'], 0.75, rtol=1e-6)


def test_only_returns_count():
  films = guidance.films(_batch(), FRAMES)
  scores = _scores([1.0, 2.0, 3.0, 4.0])
  stays = jnp.array([[0, 0, 1, 1, 1, 1]])
  loss, _ = returns_loss(scores, scores[:, :, None], stays, films)
  assert loss == 0.0


def test_a_chunk_after_a_picture_of_its_character_counts():
  scores = _scores([1.0, 2.0, 3.0, 4.0])
  stays = jnp.array([[1, 1, 0, 0, 0, 0]])
  drawn, given = (
    guidance.films(_batch(mask), FRAMES) for mask in ((1, 1, 1), (0, 0, 1))
  )
  assert returns_loss(scores, SURE, stays, drawn)[0] == 0.0
  loss, _ = returns_loss(scores, SURE, stays, given)
  routed = -np.log(np.exp([3, 4]).sum() / np.exp([1, 2, 3, 4]).sum())
  # none of the attention of SURE is on the second chunk
  np.testing.assert_allclose(loss, routed + 1e3, rtol=1e-3)


def test_a_film_without_such_a_chunk_has_no_loss_and_no_gradient():
  films = guidance.films(_batch(mask=(1, 1, 0)), FRAMES)

  def loss(scores):
    return returns_loss(scores, scores[:, :, None], NAMES, films)[0]

  value, gradient = jax.value_and_grad(loss)(_scores([1.0, 2.0, 3.0, 4.0]))
  assert value == 0.0
  assert not gradient.any()


def test_heads_learn_names_of_clean_and_noisy_frames():
  films = guidance.films(_batch(mask=(1, 1, 0)), FRAMES)
  head = {'kernel': jnp.eye(4, 2), 'bias': jnp.zeros(2)}
  # The clean film shows its names; one noisy copy does, and one the opposite.
  clean = jax.nn.one_hot(NAMES, 4)[0].reshape(1, CHUNKS, FRAMES, 4)
  wrong = jnp.roll(clean[..., :2], 1, -1)
  wrong = jnp.pad(wrong, ((0, 0),) * 3 + ((0, 2),))

  def loss(*segments):
    return label_loss(head, jnp.concatenate(segments, 1), NAMES, films)

  right = loss(clean, clean, clean)
  opposite = loss(wrong, wrong, wrong)
  np.testing.assert_allclose(
    loss(clean, clean, wrong), (2 * right + opposite) / 3, rtol=1e-6
  )
  assert right < np.log(2) < opposite
  # The last chunk is padding.
  padded = loss(clean.at[:, 2].set(wrong[:, 2]))
  np.testing.assert_allclose(padded, right, rtol=1e-6)


@pytest.mark.parametrize(
  ('step', 'prompted', 'added'), [(6, 1, 1), (7, 1, 0), (6, 0, 0)]
)
def test_it_is_added_while_it_acts_where_films_have_prompts(
  step, prompted, added
):
  batch = _batch()

  def pass_fn(params, batch, key):
    del params, key
    films = guidance.films(batch, FRAMES)
    films = films.replace(text_BNWD=films.text_BNWD * prompted)
    # One layer has a loss of 2, the other none.
    scores = _scores([0.0, 0.0, np.log(2 * (np.e**2 - 1)), -1e3])
    router = jnp.stack([scores, _scores([9.0, 9.0, -1e3, -1e3])])
    rest = RouteScores(
      router_BSE=router,
      attention_BSHE=jnp.stack([SURE, SURE]),
      value_BSFD=jnp.zeros((2, 1, 2 * CHUNKS, FRAMES, 4)),
    )
    return jnp.float32(2.0), (rest, films)

  loss_fn = returns.make_returns_loss(pass_fn, CFG, 1)
  # Of two names, each is as likely.
  head = {'kernel': jnp.ones((4, 2)), 'bias': jnp.zeros(2)}
  heads = {f'layer_{layer}': {'name': head} for layer in CFG.layers}
  loss, metrics = loss_fn(
    {'dit': None, 'heads': heads}, batch, jax.random.key(0), {'step': step}
  )
  expected = 2.0 + CFG.weight * added * (1 + np.log(2))
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  assert metrics['velocity_loss'] == 2.0
