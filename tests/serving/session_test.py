import math
import random

import numpy as np
import pytest

from cinejax.serving.directions import ChunkDirection
from cinejax.serving.film.chunk import FinishedChunk
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.session import Session

MADE_SECS, MARGIN = 0.3, 0.08


def _finished(request, director):
  """A chunk that cost nothing; its state is the one before."""
  frames = director.timeline.chunk_pixels
  return FinishedChunk(
    chunk=request.chunk,
    prompt=request.prompt,
    latents_FYXC=np.zeros(director.latent_shape, np.float32),
    video_TYXC=np.zeros((frames, 1, 1, 3), np.uint8),
    thumbnails=(b'',) * director.latent_shape[0],
    stills=(),
    routed_frames=(),
    window=(0, 0),
    state=request.slot_input.state,
    decoder=request.decoder,
  )


def _play(director, timed_prompts):
  """Plays a film with its own clock, and gives every prompt at its second.

  -> (chunk that each prompt falls on, [(begun, made, shown, prompt)]).
  """
  live_film, timeline = LiveFilm(director, 0, 0), director.timeline
  session = Session(live_film, director.cfg.serving, timeline, now=0.0)
  falls, chunks, now, ends = [], [], 0.0, math.inf
  request, begun = None, 0.0  # what is in flight
  for prompt, when in [*timed_prompts, (None, timed_prompts[-1][1] + 10)]:
    while True:  # all that happens until then
      due = session.start_at(MADE_SECS + MARGIN)
      if (happens := min(ends, max(now, due))) > when:
        break
      now = happens
      if ends < math.inf:
        event = session.finish_chunk(
          _finished(request, director), now, MADE_SECS
        )
        shown = now + event['starts_in_ms'] / 1e3
        chunks.append((begun, now, shown, event['prompt']))
        ends = math.inf
      else:
        request, begun, ends = session.start_chunk(now), now, now + MADE_SECS
    now = when
    if prompt is not None:
      falls.append(session.add_direction(ChunkDirection(prompt), now))
  return falls, chunks


@pytest.mark.parametrize('seed', range(3))
def test_a_direction_is_followed_by_the_next_chunk_that_is_begun(
  slow_paced, seed
):
  draw = random.Random(seed)
  times = sorted(draw.uniform(0, 25) for _ in range(20))
  timed_prompts = [(f'p{n}', when) for n, when in enumerate([0.0, *times])]
  falls, chunks = _play(slow_paced, timed_prompts)
  # of several that fall on one chunk, the last
  followed = {
    n: prompt for n, (prompt, _) in zip(falls, timed_prompts, strict=True)
  }
  for (_, when), chunk in zip(timed_prompts, falls, strict=True):
    begun, made, _, _ = chunks[chunk]
    before, _, shown, _ = chunks[chunk - 1] if chunk else (-1, 0, 0, '')
    assert before < when <= begun  # one chunk, in flight, is older at most
    flight = max(0.0, shown - when)
    assert made - when <= flight + MADE_SECS + 0.001  # shown is in whole ms
    assert chunks[chunk][3] == followed[chunk]


def test_a_prompt_waits_for_one_that_holds_for_some_chunks(director):
  session = Session(
    LiveFilm(director, 0, 0), director.cfg.serving, director.timeline, now=0.0
  )

  def add(prompt, **fields):
    return session.add_direction(ChunkDirection(prompt, **fields), 0.0)

  assert add('a', chunks=3) == 0
  assert add('b', chunks=2) == 3
  assert add('c') == 5
  assert add('at a time', at_chunk=1) == 1
  session.hold()
  assert add('d') == 0
  event = session.finish_chunk(
    _finished(session.start_chunk(0.0), director), 0.0, 0.0
  )
  assert event['prompt'] == 'd'
  assert event['words'] == 'The film begins, so there is no past to read.'


def test_a_film_that_waits_for_a_program_is_not_freed(studio, session):
  waiting = studio.registry.sessions[session]
  assert waiting.can_be_freed
  waiting.compiling += 1
  assert not waiting.can_be_freed
  waiting.compiling -= 1
