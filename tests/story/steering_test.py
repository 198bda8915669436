"""Actions of latent frames agree with the states of the renderer."""

import pytest

from cinejax.film.screenplay import chunk_prompts
from cinejax.models.text import actions
from cinejax.story import motion, steering
from cinejax.story.casting import cast
from cinejax.story.world import ACTIONS, CAMERAS

FILMS = [cast('train', 1, index) for index in range(12)]


@pytest.mark.parametrize(('frames', 'stride'), [(3, 4), (1, 4), (3, 1)])
def test_every_latent_frame_has_its_actions(frames, stride):
  for film in FILMS[:3]:
    steered = steering.steer(film, frames, stride)
    assert len(steered) == film.chunks * frames


def test_walking_and_running_move_as_the_prompt_asks():
  moved = {'left': [], 'right': []}
  for film in FILMS:
    x = motion.describe(film, 3, 4).x
    starts = {film.chunk_segments().index(s) for s in range(len(film.segments))}
    for frame, names in enumerate(steering.steer(film)):
      if frame // 3 in starts:
        continue  # its first pixel frame may still be the shot's before
      step = x[4 * frame] - x[4 * frame - 3]
      for name in moved:
        if name in names:
          moved[name].append(step)
      if not {'left', 'right'} & set(names):
        assert abs(step) < 1e-6
  assert max(moved['left']) < 0 < min(moved['right'])


def test_camera_and_jumps_are_those_of_the_segment():
  for film in FILMS:
    steered = steering.steer(film)
    for frame, names in enumerate(steered):
      segment = film.segments[film.chunk_segments()[frame // 3]]
      pans = CAMERAS[segment.camera] == 'pan'
      assert pans or 'camera' not in names
      assert ('jump' in names) <= (ACTIONS[segment.action] == 'jumps')
    first = film.segments[0]
    assert ('camera' in steered[1]) == (CAMERAS[first.camera] == 'pan')


def test_prompts_have_actions_in_place_of_the_verb():
  film = FILMS[0]
  prompts = chunk_prompts(film.screenplay(), 'Cut to: ', 1.5)
  steered = steering.steered_prompts(film, prompts)
  assert len(steered) == film.chunks
  spoken = []
  for before, after in zip(prompts, steered, strict=True):
    bare, names = actions.read(after.prompt)
    assert ' is ' in bare and not any(action in bare for action in ACTIONS)
    assert bare.split()[0] == before.prompt.split()[0]
    assert (before.cut, before.shot) == (after.cut, after.shot)
    spoken += names
  assert spoken == steering.steer(film)
