"""Clips of story films are parts of the rendered film, and deterministic."""

import numpy as np
import pytest

from cinejax.story import casting, render
from cinejax.story.clips import StoryClips

FRAMES = 17


def test_a_clip_is_a_part_of_its_film():
  clips = StoryClips(seed=1, films=3, clip_frames=FRAMES)
  clip = clips[4]
  assert clip.shape == (FRAMES, 64, 64, 3)
  assert clip.dtype == np.uint8
  film = render.render(casting.cast('train', 1, 4 % 3))
  starts = range(0, len(film) - FRAMES + 1, 4)  # cuts fall between latents
  # Another compiled shape may round a pixel the other way.
  apart = [
    np.abs(clip.astype(int) - film[s : s + FRAMES]).max() for s in starts
  ]
  assert min(apart) <= 1


def test_clips_differ_and_repeat():
  clips = StoryClips(seed=1, films=2, clip_frames=FRAMES)
  again = StoryClips(seed=1, films=2, clip_frames=FRAMES)
  shown = [clips[i] for i in range(len(clips))]
  assert len({clip.tobytes() for clip in shown}) > len(shown) // 2
  np.testing.assert_array_equal(again[3], shown[3])


@pytest.mark.parametrize('frames', [1, 400])
def test_any_length(frames):
  clip = StoryClips(seed=1, films=1, clip_frames=frames)[0]
  assert clip.shape == (frames, 64, 64, 3)
