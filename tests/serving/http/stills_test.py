"""The frames of any chunk of a film, at any time."""

import io
import struct

import numpy as np
from PIL import Image

from tests.serving.sessions import until, wait_for_chunks


def _pictures(answer):
  (count,) = struct.unpack_from('>I', answer.content)
  sizes = struct.unpack_from(f'>{count}I', answer.content, 4)
  data = io.BytesIO(answer.content[4 * (count + 1) :])
  pictures = [Image.open(io.BytesIO(data.read(size))) for size in sizes]
  assert not data.read()
  return [np.asarray(one) for one in pictures]


def test_all_frames_of_a_film_and_of_its_takes_can_be_seen(
  client, studio, session
):
  path = f'/sessions/{session}'
  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 3)
  rolling = client.get(f'{path}/stills/0')  # while it rolls too
  studio.direct(session, {'do': 'rewind', 'chunk': 2})
  live_film = studio.registry.sessions[session].live_film
  until(lambda: not live_film.replaying)
  state = client.get(path).json()
  assert state['stored'] == [[0, 0, 2]]
  (take,) = state['takes'][0]['takes']
  assert take['stored'][0][:2] == [2, 2]

  timeline = studio.director.timeline
  frames = list(live_film.frames())
  for chunk in range(2):
    answer = client.get(f'{path}/stills/{chunk}')
    pictures = _pictures(answer)
    start = timeline.chunk_start_pixel(chunk)
    assert len(pictures) == timeline.chunk_start_pixel(chunk + 1) - start
    for picture, frame in zip(pictures, frames[start:], strict=False):
      assert np.abs(picture.astype(int) - frame).mean() < 24  # JPEG
    assert 'max-age' in answer.headers['cache-control']
  assert rolling.content == client.get(f'{path}/stills/0').content
  assert len(_pictures(client.get(f'{path}/stills/2'))) == timeline.chunk_pixels
  past = take['stored'][-1][1] + take['stored'][-1][2]
  for stored, status in ((past, 404), (10**9, 404), ('x', 404), (-1, 404)):
    assert client.get(f'{path}/stills/{stored}').status_code == status
