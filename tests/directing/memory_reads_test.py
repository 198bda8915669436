import types

import numpy as np
import pytest

from cinejax.directing import memory_reads
from cinejax.directing.memory_reads import (
  ChunkReads,
  MemoryRecorder,
  RoutedFrame,
)
from cinejax.film.journal import ChunkPrompt
from cinejax.film.timeline import Timeline
from cinejax.memory.bank import EMPTY

TIMELINE = Timeline(3, 4, 8)


def _output(*passes):
  """An output of one film and one layer whose passes routed these frames."""
  frame_JR = np.array(passes, np.int32)
  return types.SimpleNamespace(frame_JLBR=frame_JR[:, None, None])


def test_shares_count_the_passes_that_routed_a_frame():
  output = _output((0, 2), (2, EMPTY), (2, 5), (EMPTY, EMPTY))
  routed = memory_reads.routed_frames(output.frame_JLBR)
  assert routed == ((0, 0.25), (2, 0.75), (5, 0.25))


def test_only_the_most_read_frames_are_listed_in_time_order():
  passes = [range(30), [*range(15), *[EMPTY] * 15]]
  routed = memory_reads.routed_frames(_output(*passes).frame_JLBR)
  assert [one.frame for one in routed] == [*range(16)]
  assert [one.share for one in routed] == [1.0] * 15 + [0.5]


def test_a_recorder_numbers_the_chunks_after_those_that_are_given():
  recorder = MemoryRecorder(frames=3, window_frames=6, first_chunk=1)
  recorder(_output((EMPTY,)))
  recorder(_output((0,)))
  recorder(_output((1,)))
  assert recorder.reads == (
    ChunkReads(1, (0, 3), ()),
    ChunkReads(2, (0, 6), (RoutedFrame(0, 1.0),)),
    ChunkReads(3, (3, 9), (RoutedFrame(1, 1.0),)),
  )


@pytest.mark.parametrize(
  ('reads', 'words'),
  [
    (
      ChunkReads(0, (0, 0), ()),
      'The film begins, so there is no past to read.',
    ),
    (
      ChunkReads(1, (2, 3), ()),
      'It read the last latent frame and nothing older.',
    ),
    (
      ChunkReads(
        3,
        (3, 9),
        (RoutedFrame(0, 0.75), RoutedFrame(1, 0.001), RoutedFrame(5, 1.0)),
      ),
      'It read the last 6 latent frames and, of the older ones, shot 0 at '
      '0.0 s (75 %) and 0.1 s (1 %); shot 1 at 2.1 s (100 %).',
    ),
  ],
)
def test_words_name_shots_times_and_shares(reads, words):
  assert reads.words([0, 1, 2, 3], TIMELINE) == words


@pytest.mark.parametrize(
  ('start', 'frames', 'words'),
  [
    (0, {-6: 0.5, -5: 0.75}, 'The film begins, and it read {ada}.'),
    (9, {-4: 0.75}, 'It read the last 6 latent frames and {ada}.'),
    (
      9,
      {-9: 1.0, -6: 0.75, 1: 1.0},
      'It read the last 6 latent frames, {ada} and the picture of Ben (100 %) '
      'and, of the older ones, shot 0 at 0.1 s (100 %).',
    ),
  ],
)
def test_words_name_the_pictures_that_were_read(start, frames, words):
  routed = tuple(RoutedFrame(*pair) for pair in frames.items())
  reads = ChunkReads(start // 3, (max(0, start - 6), start), routed)
  found = reads.words([0, 0, 0, 0], TIMELINE, ['Ada', 'Ben'])
  ada = 'the picture of Ada (75 %)'
  assert found == words.replace('{ada}', ada)


def test_a_report_holds_numbers_and_words():
  prompts = [ChunkPrompt('a', n, n // 2, False) for n in range(3)]
  report = ChunkReads(2, (0, 6), ()).to_json(prompts, TIMELINE)
  assert report == {
    'chunk': 2,
    'secs': [2.625, 4.125],
    'shot': 1,
    'window': [0, 6],
    'frames': [],
    'words': 'It read the last 6 latent frames and nothing older.',
  }
