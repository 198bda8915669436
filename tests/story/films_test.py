"""Story films that are cast on request and painted on the device."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from absl import flags

from cinejax import config as config_lib
from cinejax.data.pipeline import make_endless_batches
from cinejax.film import screenplay
from cinejax.models.codec.base import from_bytes
from cinejax.models.codec.select import make_codec
from cinejax.models.text.select import make_text
from cinejax.story import casting, render, steering
from cinejax.story.films import StoryFilms, make_painter
from configs import story

CHUNKS = 4


@pytest.fixture(scope='module')
def cfg():
  return config_lib.resolve(story.get_config())


@pytest.fixture(scope='module')
def films(cfg):
  return StoryFilms(
    kinds=(('dense', 0.5), ('train', 0.5)),
    seed=3,
    chunks=CHUNKS,
    film=cfg.film,
    stride=cfg.codec.temporal_stride,
    encode_text=make_text(cfg.text).encode,
  )


def _batches(films, consumed, count, index=0, processes=1):
  made = make_endless_batches(
    films,
    batch=4,
    films_consumed=consumed,
    process_index=index,
    process_count=processes,
  )
  return list(itertools.islice(made, count))


def _same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_stream_follows_from_seed_and_number(films):
  first = _batches(films, 0, 3)
  _same(first[1:], _batches(films, 4, 2))
  other = dataclasses.replace(films, seed=4)
  assert (first[0]['text'] != _batches(other, 0, 1)[0]['text']).any()


def test_processes_share_a_batch_in_order(films):
  whole = _batches(films, 4, 2)
  parts = [_batches(films, 4, 2, index, 2) for index in range(2)]
  joined = [
    jax.tree.map(lambda *x: np.concatenate(x), *rows)
    for rows in zip(*parts, strict=True)
  ]
  _same(joined, whole)


@pytest.mark.slow
def test_worker_processes_make_the_same_batches(films):
  flags.FLAGS.mark_as_parsed()  # as by a command; Grain reads flags of its own
  made = make_endless_batches(films, batch=4, films_consumed=4, workers=2)
  _same(list(itertools.islice(made, 3)), _batches(films, 4, 3))


def test_painted_latents_are_those_of_the_rendered_film(cfg, films):
  """A batch is painted as story.render renders a whole film."""
  codec = make_codec(cfg.codec)
  params = codec.init(jax.random.key(0))
  row = dataclasses.replace(films, kinds=(('dense', 1.0),))[5]
  batch = jax.tree.map(lambda x: x[None], row)
  painted = jax.jit(make_painter(codec, appearance_weight=3.0))(params, batch)
  video = render.render(casting.cast('dense', 3, 5))
  latents = jax.jit(codec.encode)(params, from_bytes(video)[None])
  frames = CHUNKS * cfg.film.frames_per_chunk
  np.testing.assert_allclose(painted['latents'], latents[:, :frames], atol=1e-5)
  assert 'states' not in painted
  weight = painted['weight']
  assert weight.shape == (*painted['latents'].shape[:-1], 1)
  assert weight.min() == 1 and 2 < weight.max() <= 3


def test_shots_keep_their_chunks_or_their_frames(cfg, films):
  """In chunks of one frame, a film is a third as long, or as long as before."""
  film = dataclasses.replace(cfg.film, frames_per_chunk=1)
  short = dataclasses.replace(films, film=film)
  kept = dataclasses.replace(short, chunks=3 * CHUNKS, keep_frames=True)
  whole, short, kept = (source[1] for source in (films, short, kept))
  np.testing.assert_array_equal(short['shots'], whole['shots'])
  np.testing.assert_array_equal(kept['shots'], np.repeat(whole['shots'], 3))
  jax.tree.map(np.testing.assert_array_equal, kept['states'], whole['states'])


def test_errors_count_more_where_appearances_are_seen(cfg, films):
  """With other appearances, a film differs in those cells and in no others."""
  codec = make_codec(cfg.codec)
  params = codec.init(jax.random.key(0))
  paint = jax.jit(make_painter(codec, appearance_weight=2.0))
  row = films[1]
  states = row['states']
  other = row | {'states': states | {'hue': (states['hue'] + 1) % 4}}
  one, two = (
    paint(params, jax.tree.map(lambda x: x[None], film))
    for film in (row, other)
  )
  differs = np.abs(one['latents'] - two['latents']).max(-1) > 1e-4
  assert (one['weight'][..., 0][differs] > 1).all()
  assert differs.mean() > 0.02


def test_short_films_are_padded(cfg, films):
  long = dataclasses.replace(films, chunks=20)
  row = long[0]
  real = int(row['mask'].sum())
  assert 0 < real < 20
  assert (row['shots'][real:] == -1).all() and (row['shots'][:real] >= 0).all()
  assert not row['text'][real:].any()


def test_pictures_are_read_and_not_drawn(films):
  row = dataclasses.replace(films, kinds=(('pictures', 1.0),))[5]
  segments = casting.cast('pictures', 3, 5).segments
  pictures = sum(segment.picture for segment in segments)
  assert row['mask'].tolist() == [i >= pictures for i in range(CHUNKS)]


def test_steered_films_have_actions_for_the_words_of_an_action(cfg, films):
  text = make_text(dataclasses.replace(cfg.text, actions=steering.ACTIONS))
  steered = dataclasses.replace(
    films,
    kinds=(('dense', 1.0),),
    encode_text=text.encode,
    steered=True,
  )
  film = casting.cast('dense', 3, 5)
  prompts = screenplay.chunk_prompts(
    film.screenplay(), cfg.film.cut_prefix, chunk_secs=1.5
  )
  expected = steering.steered_prompts(film, prompts)[:CHUNKS]
  text_NWD = text.encode([prompt.prompt for prompt in expected])
  np.testing.assert_array_equal(steered[5]['text'], text_NWD)
  frames = cfg.film.frames_per_chunk
  assert text_NWD[:, -frames:].any()
  assert not np.array_equal(text_NWD[:, :-frames], films[5]['text'])


def test_told_films_ask_twice_for_the_same_actions(cfg, films):
  """In words and in actions, which the film itself need not show."""
  text = make_text(dataclasses.replace(cfg.text, actions=steering.ACTIONS))
  films = dataclasses.replace(films, encode_text=text.encode, steered=True)
  told = dataclasses.replace(films, told=True)
  frames, contradicts, asked = cfg.film.frames_per_chunk, 0, []
  for index in range(20):
    true, row = films[index], told[index]
    _same(true['states'], row['states'])
    contradicts += not np.array_equal(true['text'], row['text'])
    assert row['told'].shape[1:] == (cfg.text.words, cfg.text.features)
    for actions, words in zip(row['text'], row['told'], strict=True):
      asked.append((actions[-frames:, :3].any(0).tolist(), words))
  assert contradicts > 10
  # an action has one word, whatever is said beside it
  jumps = [words for actions, words in asked if actions == [0, 0, 1]]
  jump = make_text(cfg.text).encode(['Ada jumps'])[0, 1]
  cut = make_text(cfg.text).encode(['Cut to: Ada jumps'])[0, 3]
  assert len(jumps) > 5
  for words in jumps:
    assert any(np.array_equal(words[i], x) for i, x in ((1, jump), (3, cut)))
  others = [words for actions, words in asked if actions == [1, 0, 0]]
  assert len(others) > 5 and not any(
    (words[1] == jump).all() for words in others
  )


def test_chunks_of_one_frame_are_the_chunks_of_the_cast(cfg, films):
  film = dataclasses.replace(cfg.film, frames_per_chunk=1)
  row = dataclasses.replace(films, film=film, kinds=(('dense', 1.0),))[2]
  cast = casting.cast('dense', 3, 2)
  assert len(row['states']['hue']) == 1 + 4 * (CHUNKS - 1)
  assert row['shots'].tolist() == list(range(CHUNKS))
  assert cast.chunks == 8
