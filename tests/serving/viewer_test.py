import asyncio
import json

from cinejax.serving.viewer import Viewer


def _watch(posts, take=None, frames=6):
  """Posts all, then takes what is there: (events, frames, viewer)."""

  async def run():
    viewer = Viewer(asyncio.get_running_loop(), 'jpeg', frames)
    for event, images in posts:
      viewer.post(event, images)
    viewer.close()
    await asyncio.sleep(0)
    got = []
    while (one := await viewer.next()) is not None:
      got.append(one)
    return got, viewer

  got, viewer = asyncio.run(run())
  events = [json.loads(one) for one in got if isinstance(one, str)]
  return events, [one for one in got if isinstance(one, bytes)], viewer


def test_what_is_posted_arrives_in_order():
  posts = [({'n': 0}, [b'0', b'1']), ({'n': 1}, [b'2', b'3'])]
  events, frames, viewer = _watch(posts)
  assert [event['n'] for event in events] == [0, 1]
  assert frames == [b'0', b'1', b'2', b'3'] and not viewer.dropped


def test_a_slow_viewer_loses_the_oldest_frames_and_no_event():
  posts = [({'n': n}, [b'%d' % n] * 3) for n in range(9)]
  events, frames, viewer = _watch(posts)
  assert [event['n'] for event in events] == list(range(9))
  assert frames == [b'7'] * 3 + [b'8'] * 3
  assert viewer.dropped == 21 and not viewer.lost


def test_a_viewer_who_takes_nothing_is_given_up():
  _, frames, viewer = _watch([({'n': n}, [b'x']) for n in range(1000)])
  assert viewer.lost and not frames


def test_a_viewer_waits_for_what_comes():
  async def run():
    viewer = Viewer(asyncio.get_running_loop(), 'jpeg', 6)
    waiting = asyncio.create_task(viewer.next())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await asyncio.to_thread(viewer.post, {'n': 0})
    assert json.loads(await waiting) == {'n': 0}

  asyncio.run(run())


def test_a_post_after_the_loop_has_ended_loses_the_viewer():
  async def make():
    return Viewer(asyncio.get_running_loop(), 'jpeg', 6)

  viewer = asyncio.run(make())
  viewer.post({'n': 0})
  assert viewer.lost
