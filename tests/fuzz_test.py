"""Damaged and odd inputs end in success, or in a UserError of one sentence.

Each test changes small inputs that it makes: their JSON values, and their
bytes, which are cut, flipped, inserted and repeated. The fast tier tries 60
inputs of each kind, 300 in all; the slow tier 10,000.
"""

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cinejax.core.errors import UserError
from cinejax.film import directions, journal_file, media, screenplay
from cinejax.film.journal import Journal
from cinejax.interop.archive import open_archive
from cinejax.interop.tensors import load_tree, save_tree
from data_prep import captions

TIERS = [60, pytest.param(2000, marks=pytest.mark.slow)]


def tries(count):
  return settings(
    max_examples=count,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
  )


@contextlib.contextmanager
def success_or_one_sentence():
  try:
    yield
  except UserError as error:
    message = str(error)
    assert message and len(message.splitlines()) == 1, message


WORDS = st.sampled_from(
  'segments prompt prompts chunks secs cut title seed shot1 shot2 shots scenes '
  'global_caption frames_per_shot video_prompts text weight startTime endTime '
  'label id segment_prompts shot_captions num_frames shot_cut_frames policy '
  'steps guidance global_prompt blend_chunks file shot caption settings '
  'camera trajectory pose_str'.split()
)
VALUES = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.sampled_from([10**400, -1, 0, 1, 1e308, 'a dog', '', '\u2028', '\ud800'])
  | st.floats()
  | st.text(max_size=9),
  lambda inner: (
    st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4)
  ),
  max_leaves=8,
)
KINDS = ['flip', 'flip', 'flip', 'insert', 'repeat', 'drop', 'cut']
EDITS = st.just([]) | st.lists(
  st.tuples(
    st.sampled_from(KINDS),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=8),
  ),
  max_size=3,
)


def changed(data, edits):
  """The bytes after edits, each at a share of their length."""
  for kind, where, bytes_ in edits:
    at, size = int(where * len(data)), len(bytes_)
    if kind == 'cut':
      data = data[:at]
    elif kind == 'flip':
      part = data[at : at + size]
      flipped = bytes(a ^ b for a, b in zip(part, bytes_, strict=False))
      data = data[:at] + flipped + data[at + size :]
    elif kind == 'insert':
      data = data[:at] + bytes_ + data[at:]
    elif kind == 'repeat':
      data = data[: at + size] + data[at:]
    else:
      data = data[:at] + data[at + size :]
  return data


def with_values(document, values):
  """The document with some of its values, at any depth, replaced."""
  for where, value in values:
    places = list(_places(document))
    if not places:
      return value
    holder, key = places[int(where * len(places))]
    holder[key] = value
  return document


def _places(node):
  items = []
  if isinstance(node, dict):
    items = list(node.items())
  elif isinstance(node, list):
    items = list(enumerate(node))
  for key, value in items:
    yield node, key
    yield from _places(value)


REPLACED = st.lists(
  st.tuples(st.floats(0, 1, exclude_max=True), VALUES), max_size=3
)
OWN = {
  'title': 'Two',
  'seed': 3,
  'segments': [
    {'prompt': 'a dog', 'secs': 2.5},
    {'prompt': 'a cat', 'chunks': 2, 'cut': False, 'blend_chunks': 1},
    {'prompt': 'a hen', 'chunks': 1, 'steps': 4, 'policy': 'camr'},
    {'prompt': 'a cow', 'chunks': 3, 'camera': '-,w*8,a'},
  ],
}
SHOTSTREAM = {
  'global_caption': 'A pot.',
  'shot1': 'a',
  'shot2': 'b',
  'frames_per_shot': [49, 81],
}
STORYMEM = {
  'story_name': 'a',
  'scenes': [
    {'scene_num': 1, 'video_prompts': ['a', 'b'], 'cut': [True, False]}
  ],
}
SCOPE = {
  'prompts': [
    {
      'startTime': 0,
      'endTime': 4.5,
      'prompts': [{'text': 'a', 'weight': 100}, {'text': 'b', 'weight': 50}],
    }
  ],
  'settings': {'seed': 4},
  'version': '2.1',
}
DREAMVERSE = [{'id': 'a', 'label': 'b', 'segment_prompts': ['c', 'd']}]
HOLOCINE = {
  'global_caption': 'a',
  'shot_captions': ['b', 'c'],
  'num_frames': 81,
  'shot_cut_frames': [40],
}
MINWM = [{'caption': 'a', 'trajectory': 'w*8,j*2'}]
FORMATS = [OWN, SHOTSTREAM, STORYMEM, SCOPE, DREAMVERSE, HOLOCINE, MINWM]
FORMATS += [{'prompts': ['a', 'b']}, [OWN, OWN], ['a', 'b']]
NAMES = ['a.json', 'a.json', 'a.json', 'a.json', 'a.jsonl', 'a.txt', 'a.csv']


@pytest.mark.parametrize('count', TIERS)
def test_screenplays(tmp_path, count):
  @tries(count)
  @given(st.sampled_from(FORMATS), st.sampled_from(NAMES), REPLACED, EDITS)
  def check(document, name, values, edits):
    document = with_values(json.loads(json.dumps(document)), values)
    path = tmp_path / name
    path.write_bytes(changed(json.dumps(document).encode(), edits))
    with success_or_one_sentence():
      for film in screenplay.load(path):
        screenplay.chunk_prompts(film, 'Cut to: ', 0.75)
        screenplay.save(film, tmp_path / 'again.json')
        assert screenplay.load(tmp_path / 'again.json') == (film,)

  check()


@pytest.mark.parametrize('count', TIERS)
def test_captions(tmp_path, count):
  rows = [{'file': f'{n}.mp4', 'shot': n, 'caption': 'a dog'} for n in range(3)]

  @tries(count)
  @given(REPLACED, EDITS)
  def check(values, edits):
    changed_rows = with_values(json.loads(json.dumps(rows)), values)
    lines = changed_rows if isinstance(changed_rows, list) else [changed_rows]
    text = '\n'.join(map(json.dumps, lines))
    path = tmp_path / 'captions.jsonl'
    path.write_bytes(changed(text.encode(), edits))
    with success_or_one_sentence():
      captions.load(path)

  check()


@pytest.mark.parametrize('count', TIERS)
def test_journals(tmp_path, count):
  lines = 'Ada walks left\ncut: Ben jumps on the beach * 3\n \nHana stands\n'
  records = b'{"title": "a"}\n{"prompt": "b", "cut": true}\n{"chunks": 1}\n'

  @tries(count)
  @given(EDITS, st.integers(0, 9))
  def check(edits, chunks):
    journal = Journal('Cut to: ')
    text = changed(lines.encode(), edits).decode(errors='replace')
    for line in text.split('\n'):
      with success_or_one_sentence():
        segment = directions.parse(line)
        journal.add(segment)
        for _ in range(min(segment.chunks, 9)):
          journal.next_chunk()
    assert journal.truncated(chunks).chunks == min(chunks, journal.chunks)
    path = tmp_path / 'journal.jsonl'
    path.write_bytes(changed(records, edits))
    with success_or_one_sentence():
      found = journal_file.read(path)
      assert found.length + found.dropped == path.stat().st_size

  check()


@pytest.mark.parametrize('count', TIERS)
def test_weights(tmp_path, count):
  path = tmp_path / 'base.safetensors'
  tree = {'a': {'kernel': np.ones((2, 3), np.float32)}, 'b': np.zeros(4)}
  save_tree(path, tree, {'config': '{"dit": {}}', 'stage': 'base'})
  whole = path.read_bytes()
  (length,) = struct.unpack('<Q', whole[:8])
  header = json.loads(whole[8 : 8 + length])

  @tries(count)
  @given(REPLACED, EDITS, EDITS)
  def check(values, header_edits, edits):
    document = with_values(json.loads(json.dumps(header)), values)
    text = changed(json.dumps(document).encode(), header_edits)
    data = struct.pack('<Q', len(text)) + text + whole[8 + length :]
    path.write_bytes(changed(data, edits))
    with success_or_one_sentence():
      load_tree(path)
    with success_or_one_sentence():
      archive = open_archive(path)
      for tensor in archive.tensors.values():
        tensor[...]
      archive.config('dit')

  check()


@pytest.mark.parametrize('count', TIERS)
def test_clips(tmp_path, count):
  path = tmp_path / 'a.mp4'
  rng = np.random.default_rng(0)
  media.write_video(path, rng.integers(0, 255, (4, 16, 16, 3), np.uint8), 8)
  whole = path.read_bytes()
  boxes = whole.index(b'mdat') + 4  # the boxes before the pictures

  @tries(count)
  @given(EDITS, st.booleans())
  def check(edits, only_boxes):
    part = boxes if only_boxes else len(whole)
    path.write_bytes(changed(whole[:part], edits) + whole[part:])
    with success_or_one_sentence():
      media.probe(path)
    with success_or_one_sentence():
      for number, frame_YXC in enumerate(media.read_frames(path, fps=8)):
        assert frame_YXC.dtype == np.uint8 and frame_YXC.shape[2] == 3
        if number > 99:
          break

  check()
