"""Batches of films: order, restart, processes, padding."""

import itertools

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.data.pipeline import fit_film, make_batches, make_clip_batches
from cinejax.data.sources import LatentFilm

FRAMES = 3
CHUNKS = 4


def film(number, chunks):
  latents = np.full((chunks * FRAMES, 2, 2, 1), number, np.float16)
  return LatentFilm(
    latents=latents,
    prompts=tuple(f'{number} {chunk}' for chunk in range(chunks)),
    cuts=np.zeros(chunks, bool),
    shots=np.zeros(chunks, np.int32),
    film=number,
  )


def encode_text(prompts):
  numbers = [[float(word) + 1 for word in text.split()] for text in prompts]
  return np.array(numbers, np.float32)[:, None]


FILMS = [film(number, 1 + number % 6) for number in range(10)]


def batches(batch=4, **kwargs):
  return make_batches(
    FILMS,
    encode_text,
    chunks=CHUNKS,
    frames_per_chunk=FRAMES,
    batch=batch,
    seed=3,
    **kwargs,
  )


def take(iterator, count):
  return list(itertools.islice(iterator, count))


def numbers(batch):
  return batch['latents'][:, 0, 0, 0, 0].astype(int).tolist()


def assert_equal(one, other):
  assert one.keys() == other.keys()
  for name in one:
    np.testing.assert_array_equal(one[name], other[name])


def test_shapes_and_types():
  batch = next(batches())
  assert {name: array.shape for name, array in batch.items()} == {
    'latents': (4, CHUNKS * FRAMES, 2, 2, 1),
    'text': (4, CHUNKS, 1, 2),
    'mask': (4, CHUNKS),
    'shots': (4, CHUNKS),
  }
  assert batch.pop('shots').dtype == np.int32
  assert all(array.dtype == np.float32 for array in batch.values())


@pytest.mark.parametrize('updates', [1, 3, 6])  # 10 films: 3 crosses an epoch
def test_a_restart_gives_the_next_batch(updates):
  straight = take(batches(), updates + 2)
  again = take(batches(films_consumed=4 * updates), 2)
  for one, other in zip(straight[updates:], again, strict=True):
    assert_equal(one, other)


def test_a_restart_may_change_the_batch():
  order = [n for batch in take(batches(), 6) for n in numbers(batch)]
  rest = [n for b in take(batches(2, films_consumed=8), 4) for n in numbers(b)]
  assert rest == order[8:16]


@pytest.mark.parametrize('count', [2, 4])
def test_processes_together_are_one(count):
  whole = take(batches(films_consumed=4), 5)
  parts = [
    take(batches(films_consumed=4, process_index=i, process_count=count), 5)
    for i in range(count)
  ]
  for update, batch in enumerate(whole):
    rows = [part[update] for part in parts]
    joined = {
      name: np.concatenate([row[name] for row in rows]) for name in batch
    }
    assert_equal(joined, batch)


def test_every_film_once_an_epoch_and_epochs_differ():
  order = [n for batch in take(batches(5), 6) for n in numbers(batch)]
  epochs = [order[:10], order[10:20], order[20:]]
  assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
  assert epochs[0] != epochs[1] != epochs[2]
  assert epochs[0] != list(range(10))


def test_a_short_film_is_padded_at_its_end():
  row = fit_film(film(7, 2), encode_text, CHUNKS, FRAMES)
  np.testing.assert_array_equal(row['mask'], [1, 1, 0, 0])
  assert (row['latents'][: 2 * FRAMES] == 7).all()
  assert not row['latents'][2 * FRAMES :].any()
  np.testing.assert_array_equal(row['text'][:2, 0], [[8, 1], [8, 2]])
  assert not row['text'][2:].any()


def test_a_long_film_keeps_its_beginning():
  row = fit_film(film(7, 6), encode_text, CHUNKS, FRAMES)
  np.testing.assert_array_equal(row['mask'], [1, 1, 1, 1])
  np.testing.assert_array_equal(row['text'][:, 0, 1], [1, 2, 3, 4])


def test_wrong_frames_per_chunk_is_named():
  with pytest.raises(UserError, match='film 7 has 6 latent frames'):
    fit_film(film(7, 2), encode_text, CHUNKS, 1)


def test_a_batch_must_divide():
  with pytest.raises(UserError, match='does not divide over 3 processes'):
    batches(4, process_count=3)


def test_clips_restart_too():
  clips = [np.full((5, 2, 2, 3), i, np.uint8) for i in range(6)]
  straight = take(make_clip_batches(clips, batch=2, seed=0), 4)
  again = take(make_clip_batches(clips, batch=2, seed=0, clips_consumed=4), 2)
  assert straight[0]['video'].shape == (2, 5, 2, 2, 3)
  assert straight[0]['video'].dtype == np.uint8
  for one, other in zip(straight[2:], again, strict=True):
    assert_equal(one, other)
