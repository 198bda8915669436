"""Supervised features of a base: its losses, and what they leave alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.models.text.select import make_text
from cinejax.objectives import alignment, guidance
from cinejax.objectives.config import AlignmentConfig
from cinejax.story import world
from cinejax.story.films import LABELS, StoryFilms
from cinejax.training.stages import find
from configs import story, tiny

KINDS = {'hue': 4, 'place': 3}
CFG = AlignmentConfig(
  weight=0.5, target='labels', layers=(1,), last_update=0, features=5
)
CHUNKS, FRAMES, WIDTH = 2, 3, 16


def _films(mask=(1, 1)):
  latents = jnp.zeros((1, CHUNKS * FRAMES, 2, 2, 4))
  return guidance.films(
    {
      'latents': latents,
      'text': jnp.zeros((1, CHUNKS, 1, 1)),
      'mask': jnp.array([mask], jnp.float32),
      'shots': jnp.zeros((1, CHUNKS), jnp.int32),
    },
    FRAMES,
  )


def _loss(cfg, value_LBSFD, heads, batch, mask=(1, 1), step=0):
  """(loss, metrics) beside a loss of the base of 2."""

  def pass_fn(params, batch, key):
    del params, batch, key
    return jnp.float32(2.0), (value_LBSFD, _films(mask))

  loss_fn = alignment.make_aligned_loss(pass_fn, cfg, KINDS)
  params = {'dit': None, 'heads': heads}
  return loss_fn(params, batch, jax.random.key(0), {'step': step})


def _heads(cfg=CFG):
  return alignment.init_heads(cfg, KINDS, WIDTH, jax.random.key(2))


def _values(copies=1):
  shape = (1, 1, copies * CHUNKS, FRAMES, WIDTH)
  return jax.random.normal(jax.random.key(3), shape)


def test_labels_are_learnt_from_the_frames_they_are_of():
  labels = np.array([[[f % 4, f % 3] for f in range(CHUNKS * FRAMES)]])
  batch = {'labels': jnp.asarray(labels, jnp.int32)}
  values, heads = _values(copies=2), _heads()

  def loss(heads):
    return _loss(CFG, values, heads, batch)[0]

  step = jax.jit(
    lambda heads: jax.tree.map(
      lambda x, g: x - 4.0 * g, heads, jax.grad(loss)(heads)
    )
  )
  before = loss(heads)
  for _ in range(200):
    heads = step(heads)
  assert loss(heads) < 2.02 < before


def test_frames_without_a_label_or_in_padding_do_not_count():
  values, heads = _values(), _heads()
  labels = jnp.zeros((1, CHUNKS * FRAMES, 2), jnp.int32)
  none = labels.at[:, FRAMES:].set(-1)
  other = labels.at[:, FRAMES:].set(1)
  masked = [
    _loss(CFG, values, heads, {'labels': x}, mask=(1, 0))[0]
    for x in (none, labels, other)
  ]
  assert masked[0] == masked[1] == masked[2]
  unlabelled = _loss(CFG, values, heads, {'labels': none})[1]['alignment']
  np.testing.assert_allclose(
    2 * unlabelled, (masked[0] - 2) / CFG.weight, rtol=1e-6
  )


def test_features_are_compared_by_their_angle():
  cfg = dataclasses.replace(CFG, target='features')
  values, heads = _values(), _heads(cfg)
  features = jax.random.normal(jax.random.key(4), (1, CHUNKS * FRAMES, 5))
  loss, metrics = _loss(cfg, values, heads, {'features': features})
  scaled, _ = _loss(cfg, 7 * values, heads, {'features': 3 * features})
  np.testing.assert_allclose(loss, scaled, rtol=1e-5)
  assert -1 < metrics['alignment'] < 1
  np.testing.assert_allclose(loss, 2 + 0.5 * metrics['alignment'], rtol=1e-6)


def _tiny(weight, last_update=0):
  config = tiny.get_config()
  config.story.kinds = (('dense', 1.0),)
  config.memory.training = 'full'
  config.alignment.weight = weight
  config.alignment.layers = (0,)
  config.alignment.last_update = last_update
  return resolve(config)


def _gradient(cfg, step=0):
  """(loss, gradient) of the base of `cfg` on a random batch."""
  program = find('base').describe(cfg, make_text(cfg.text))
  batch = {
    name: jax.random.normal(jax.random.key(1), x.shape)
    if x.dtype == jnp.float32
    else jnp.zeros(x.shape, x.dtype)
    for name, x in find('base').make_batch(cfg).items()
  } | {'mask': jnp.ones((cfg.stage.base.batch, cfg.data.chunks))}
  params = program.init_fn(jax.random.key(0))
  gradient = jax.jit(jax.value_and_grad(program.loss_fn, has_aux=True))
  (loss, _), grads = gradient(
    params, batch, jax.random.key(5), {'step': jnp.int32(step)}
  )
  return loss, params, grads


@pytest.mark.slow
def test_without_weight_nothing_differs():
  """Past its last update, an alignment leaves the base as it is without."""
  plain_loss, plain, plain_grads = _gradient(_tiny(0.0))
  loss, params, grads = _gradient(_tiny(0.5, last_update=3), step=3)
  assert {*params} == {'dit', 'heads'} and 'blocks' in plain
  np.testing.assert_allclose(loss, plain_loss, rtol=1e-6)
  jax.tree.map(np.testing.assert_array_equal, params['dit'], plain)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    grads['dit'],
    plain_grads,
  )
  assert not any(np.any(x) for x in jax.tree.leaves(grads['heads']))


def test_what_ships_is_the_base(tmp_path):
  cfg = _tiny(0.5)
  program = find('base').describe(cfg, make_text(cfg.text))
  shapes = jax.eval_shape(program.init_fn, jax.random.key(0))
  assert program.ships == 'dit'
  plain = find('base').describe(_tiny(0.0), make_text(cfg.text))
  assert shapes['dit'] == jax.eval_shape(plain.init_fn, jax.random.key(0))
  (tmp_path / 'codec.safetensors').touch()
  train = dataclasses.replace(
    cfg.train, base_weights='base.safetensors', stages=('codec', 'base')
  )
  built = find('base').build(dataclasses.replace(cfg, train=train), tmp_path)
  assert built.start == {'dit': 'base.safetensors'}
  assert next(built.batches_fn(0))['labels'].shape == (2, 9, len(LABELS))


def test_labels_are_those_of_the_story():
  cfg = resolve(story.get_config())
  films = StoryFilms(
    kinds=(('short', 1.0),),
    seed=3,
    chunks=4,
    film=cfg.film,
    stride=cfg.codec.temporal_stride,
    encode_text=make_text(cfg.text).encode,
    labels=True,
  )
  row, cast = films[0], films.cast(0)
  labels = row['labels'].reshape(4, cfg.film.frames_per_chunk, len(LABELS))
  for chunk, segment in zip(labels, cast.chunk_segments(), strict=False):
    segment = cast.segments[segment]
    named = dict(zip(LABELS, chunk.T, strict=True))
    looks = cast.appearances[segment.character]
    hue, shape, pattern = world.APPEARANCES[looks]
    for kind, expected in (
      ('name', segment.character),
      ('hue', hue),
      ('shape', shape),
      ('pattern', pattern),
      ('place', segment.place),
    ):
      assert (named[kind] == expected).all(), kind
    assert named['phase'].max() < 4
  assert len({*labels[..., -1].ravel()}) > 1  # characters move
  assert 'labels' not in dataclasses.replace(films, labels=False)[0]


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'layers': (2,)}, r'alignment\.layers is \(2,\); it must name layers'),
    ({'target': 'labels'}, r'labels, which only films of config\.story\.kinds'),
    (
      {'target': 'features', 'kinds': (('dense', 1.0),)},
      r'features, which only films of config\.data\.films',
    ),
  ],
)
def test_what_cannot_be_supervised_is_an_error(changes, sentence):
  config = tiny.get_config()
  config.story.kinds = changes.pop('kinds', ())
  config.alignment.update({'weight': 0.5, 'layers': (0,)} | changes)
  with pytest.raises(UserError, match=sentence):
    find('base').check_data(resolve(config))
