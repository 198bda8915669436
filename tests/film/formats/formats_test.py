"""Screenplays of other projects, as their files are structured."""

import json

import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay


def _load(tmp_path, value, name='a.json'):
  path = tmp_path / name
  lines = isinstance(value, list) and name.endswith('jsonl')
  text = value
  if lines:
    text = '\n'.join(json.dumps(row) for row in value)
  elif not isinstance(value, str):
    text = json.dumps(value)
  path.write_text(text)
  return screenplay.load(path)


def _told(film):
  return [(s.prompt, s.secs, s.cut) for s in film.segments]


SHOTS = {'global_caption': 'A pot.', 'shot1': 'a', 'shot2': 'b', 'shot3': 'c'}


def test_shotstream(tmp_path):
  (film,) = _load(tmp_path, SHOTS)
  assert _told(film) == [(p, 81 / 16, True) for p in 'abc']
  assert {s.global_prompt for s in film.segments} == {'A pot.'}
  lengths = {'frames_per_shot': [49, 81, 33], 'sample_id': 7}
  (film,) = _load(tmp_path, SHOTS | lengths)
  assert [s.secs for s in film.segments] == [49 / 16, 81 / 16, 33 / 16]
  assert film.title == '7'


def test_a_folder_of_stories_is_a_benchmark(tmp_path):
  """As ST-Bench is published: a folder of StoryMem's files."""
  for name in ('cat', 'artist'):
    story = {'story_name': name, 'scenes': [{'video_prompts': [name]}]}
    (tmp_path / f'{name}.json').write_text(json.dumps(story))
  (tmp_path / 'README.md').write_text('# Stories')
  films = screenplay.load(tmp_path)
  assert [film.title for film in films] == ['artist', 'cat']
  (tmp_path / 'sound.json').write_text('{"sound": 1}')
  with pytest.raises(UserError, match=r'sound\.json has an unknown key'):
    screenplay.load(tmp_path)


def test_the_index_of_shotstream(tmp_path, capsys):
  (tmp_path / 'json').mkdir()
  (tmp_path / 'json' / '01.json').write_text(json.dumps(SHOTS))
  table = (
    'shot_num_from_caption,json_path,frame_number\n'
    '2,json/01.json,"[[0, 81], [81, 129]]"\n'
  )
  (film,) = _load(tmp_path, table, 'index.csv')
  assert _told(film) == [('a', 81 / 16, True), ('b', 3.0, True)]
  assert 'no counterpart of shot3' in capsys.readouterr().err
  for separator in ';\t':  # as spreadsheets write it
    other = table.replace(',json', f'{separator}json').replace(
      ',frame', f'{separator}frame'
    )
    other = other.replace('2,', f'2{separator}').replace(',"', f'{separator}"')
    assert _load(tmp_path, other, 'index.csv')[0].segments == film.segments
  with pytest.raises(UserError, match=r'is a table .* and no screenplay'):
    _load(tmp_path, 'name,prompt\na,b\n', 'other.csv')
  with pytest.raises(UserError, match=r'line 2: there is no file 02\.json'):
    _load(tmp_path, table.replace('json/01', '02'), 'index.csv')


def test_a_folder_of_shotstream(tmp_path):
  for number in (1, 2):
    (tmp_path / f'0{number}.json').write_text(json.dumps(SHOTS))
  assert len(screenplay.load(tmp_path)) == 2


def test_storymem_in_json5(tmp_path, capsys):
  text = """{ // a comment
    story_name: 'The Last "Tram"', 'story_overview': "it's http://x, y",
    "scenes": [
      {"scene_num": 1, "video_prompts": ["a", "b"], "cut": ["True", "False"],},
      /* another */ {"video_prompts": ["c"], "cut": [true]},
    ],
  }"""
  (film,) = _load(tmp_path, text)
  assert film.title == 'The Last "Tram"'
  assert _told(film) == [
    (p, 81 / 16, cut) for p, cut in zip('abc', (True, False, True), strict=True)
  ]
  assert 'story_overview (StoryMem)' in capsys.readouterr().err


def test_timelines_of_scope(tmp_path, capsys):
  entries = [
    {'startTime': 0, 'endTime': 4.5, 'prompts': [{'text': 'a', 'weight': 9}]},
    {'startTime': 4.5, 'endTime': 6, 'text': 'b', 'transitionSteps': 4},
    {
      'startTime': 6,
      'endTime': 8,
      'prompts': [{'text': 'c', 'weight': 7}, {'text': 'd', 'weight': 3}],
    },
  ]
  want = [('a', 4.5, True), ('b', 1.5, False), ('c d', 2, False)]
  (film,) = _load(tmp_path, {'prompts': entries, 'settings': {'seed': 42}})
  assert (_told(film), film.seed) == (want, 42)
  assert 'transitionSteps' in capsys.readouterr().err
  entries[0] = {'start_time': 0, 'end_time': 4.5, 'prompts': [{'text': 'a'}]}
  workflow = {
    'format': 'scope-workflow',
    'metadata': {'name': 'Fox'},
    'timeline': {'entries': entries},
    'prompts': [{'text': 'only'}],
  }
  (film,) = _load(tmp_path, workflow, 'a.scope-workflow.json')
  assert (_told(film), film.title) == (want, 'Fox')
  (film,) = _load(tmp_path, workflow | {'timeline': None})
  assert _told(film) == [('only', 10.0, True)]


def test_fastvideo(tmp_path):
  preset = {'id': 'o', 'label': 'Owl', 'segment_prompts': ['a', 'b']}
  secs = 121 / 24
  (film,) = _load(tmp_path, [preset])
  assert _told(film) == [('a', secs, True), ('b', secs, False)]
  messages = [
    {'type': 'session_init_v2', 'preset': 'p', 'curated_prompts': ['a']},
    {'type': 'segment_prompt_source', 'prompt': 'b', 'seed': 11},
    {'type': 'snapshot_state'},
  ]
  (film,) = _load(tmp_path, messages, 'a.jsonl')
  assert _told(film) == [('a', secs, True), ('b', secs, False)]
  assert (film.title, film.seed) == ('p', 11)
  clips = [{'caption': 'a', 'num_frames': 80, 'image_path': None}]
  films = _load(tmp_path, {'data': [*clips, {'caption': 'b'}]})
  assert [_told(f) for f in films] == [[('a', 5, True)], [('b', 10, True)]]
  films = _load(tmp_path, [{'id': 'x', 'video_prompt': 'a'}] * 2, 'a.jsonl')
  assert [f.title for f in films] == ['x', 'x']


def test_minwm(tmp_path):
  items = [
    {'id': 1, 'caption': 'a', 'trajectory': 'w*8,a*4,s*7'},
    {'caption': 'b', 'pose_str': 'w-5, left-5', 'image_path': 'x'},
  ]
  films = _load(tmp_path, items)
  assert [f.segments[0].secs for f in films] == [77 / 16, 41 / 16]
  cameras = [f.segments[0].camera for f in films]
  assert cameras == ['-,w*8,a*4,s*7', '-,w*5,j*5']
  with pytest.raises(UserError, match=r"camera has 'turn\*3'; moves are such"):
    _load(tmp_path, [{'caption': 'a', 'trajectory': 'turn*3'}])
  with pytest.raises(UserError, match='moves of the camera and no captions'):
    _load(tmp_path, 'w*19\na*10,s*9\n', 'a.txt')


def test_holocine(tmp_path):
  document = {
    'global_caption': 'A hill. This scene contains 3 shots.',
    'shot_captions': ['a', 'b', 'c'],
    'num_frames': 241,
    'shot_cut_frames': [81, 145],
    'seed': 0,
  }
  (film,) = _load(tmp_path, document)
  assert [s.secs for s in film.segments] == [81 / 15, 64 / 15, 96 / 15]
  assert (film.segments[1].global_prompt, film.seed) == ('A hill.', 0)
  del document['shot_cut_frames']
  (film,) = _load(tmp_path, document)
  assert [round(s.secs, 3) for s in film.segments] == [5.356] * 3


def test_vbench_and_moviegen(tmp_path):
  films = _load(tmp_path, [{'prompt_en': 'a', 'dimension': ['x']}] * 2)
  assert [_told(f) for f in films] == [[('a', 10.0, True)]] * 2
  (film,) = _load(tmp_path, [{'summary': 'A move.', 'storyline': ['a', 'b']}])
  assert film.title == 'A move.' and len(film.segments) == 2
  assert len(_load(tmp_path, 'a fox, red\n[a] hare\n', 'a.txt')) == 2


def test_longlive_2_counts_from_one(tmp_path):
  folder = tmp_path / 'caption' / 'sample_0001'
  folder.mkdir(parents=True)
  for number, caption in enumerate('abc', 1):
    (folder / f'{number:06}.json').write_text(json.dumps({'caption': caption}))
  (folder / 'global.json').write_text('{}')
  (folder / 'shot_durations.txt').write_text('2, 6, 4')
  for start in (tmp_path, folder):
    (film,) = screenplay.load(start)
    assert [(s.prompt, s.chunks) for s in film.segments] == [
      ('a', 2),
      ('b', 6),
      ('c', 4),
    ]


def test_json_with_the_suffix_of_text(tmp_path):
  (film,) = _load(tmp_path, SHOTS, 'a.txt')
  assert len(film.segments) == 3
  films = _load(tmp_path, '{"prompts": ["a"]}\n{"prompts": ["b"]}\n', 'b.txt')
  assert len(films) == 2


def test_lines_of_json_and_json_have_each_others_suffixes(tmp_path):
  lines = '{"prompts": ["a"]}\n{"prompts": ["b"]}\n'
  assert len(_load(tmp_path, lines, 'a.json')) == 2
  (film,) = _load(tmp_path, json.dumps(SHOTS, indent=2), 'a.jsonl')
  assert len(film.segments) == 3
  with pytest.raises(UserError, match='line 2: is not JSON'):
    _load(tmp_path, '{"prompts": ["a"]}\n{"prompts": [}\n', 'a.json')
  for name in ('a.json', 'a.jsonl', 'a.txt'):
    with pytest.raises(UserError, match='is not JSON'):
      _load(tmp_path, '{\n  "segments": [\n    {"prompt": "a}\n', name)
  films = _load(tmp_path, '[anime] a girl\n{red|blue} cars\n', 'a.txt')
  assert [film.segments[0].prompt[:5] for film in films] == ['[anim', '{red|']


def test_a_key_that_stands_twice_is_reported(tmp_path, capsys):
  text = '{"segments": [{"prompt": "a", "chunks": 1, "prompt": "b"}]}'
  (film,) = _load(tmp_path, text)
  assert film.segments[0].prompt == 'b'
  assert 'a.json: an object has prompt twice' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('a.srt', '1\n00:00:01,000 --> 00:00:02,500\nA fox.\n', 'holds subtitles'),
    ('a.txt', '1\n00:00:01,000 --> 00:00:02,500\nA fox.\n', 'holds subtitles'),
    ('a.vtt', 'WEBVTT\n\n00:01.000 --> 00:02.500\nA fox.\n', 'holds subtitles'),
    ('a.ass', '[Script Info]\nTitle: a\n', 'holds subtitles'),
    ('a.yaml', 'anything: 1\n', 'is YAML; write the screenplay as JSON'),
    ('a.txt', '# a film\nsegments:\n- prompt: a fox\n', 'is YAML'),
    ('a.txt', '---\n- prompt: a fox\n', 'is YAML'),
    ('a.txt', '<?xml version="1.0"?>\n<film/>\n', 'is XML'),
    ('a.txt', '{\\rtf1\\ansi A fox.}', r'is rich text \(RTF\)'),
  ],
)
def test_other_texts_are_no_prompts(tmp_path, name, text, message):
  with pytest.raises(UserError, match=message):
    _load(tmp_path, text, name)
  prompts = 'Scene: a fox --> a hen\n# a hen\n--- 12:30, 2 dogs\n'
  assert len(_load(tmp_path, prompts, 'b.txt')) == 3


@pytest.mark.parametrize(
  ('value', 'message'),
  [
    (SHOTS | {'shot5': 'e'}, 'shot4 is missing'),
    (SHOTS | {'frames_per_shot': [81]}, 'not one length for each of the 3'),
    (SHOTS | {'frames_per_shot': [1, 'x', 3]}, 'length of shot2 is text'),
    (SHOTS | {'shot2': None}, r'segments\[1\]\.prompt has a wrong type: null'),
    (
      {'scenes': [{'video_prompts': ['a', 3]}]},
      r'video_prompts\[1\] is the num',
    ),
    ({'scenes': [{'video_prompts': ['a'], 'cut': ['x']}]}, r'cut\[0\] is .x.'),
    ({'scenes': [{'video_prompts': ['a'], 'cut': []}]}, 'not one value'),
    ({'prompts': [{'prompts': [{'text': None}]}]}, r'prompts\[0\] is null'),
    ({'prompts': [{'text': 'a', 'endTime': 1}]}, 'startTime is null'),
    ([{'segment_prompts': 'a'}], 'segment_prompts must be a list of texts'),
    ({'data': [{'height': 3}]}, r'data\[0\] must be an object with a caption'),
    ([{'caption': 'a', 'trajectory': 'forward'}], 'must be moves such as'),
    (
      {'shot_captions': ['a', 'b'], 'shot_cut_frames': [1, 2]},
      'cut_frames must',
    ),
    ([{'storyline': []}], 'storyline must be a list of texts'),
  ],
)
def test_errors_name_the_file_and_the_field(tmp_path, value, message):
  with pytest.raises(UserError, match=message) as error:
    _load(tmp_path, value)
  assert 'a.json' in str(error.value)
