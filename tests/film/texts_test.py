"""Text files in every encoding, and files that are no text."""

import codecs
import json
import unicodedata

import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay, texts
from data_prep import captions

TEXT = '{"prompts": ["Zoë läuft", "ein Fuchs"]}\r\n'


@pytest.mark.parametrize(
  ('mark', 'encoding'),
  [
    (b'', 'utf-8'),
    (codecs.BOM_UTF8, 'utf-8'),
    (codecs.BOM_UTF16_LE, 'utf-16-le'),
    (codecs.BOM_UTF16_BE, 'utf-16-be'),
    (codecs.BOM_UTF32_LE, 'utf-32-le'),
    (codecs.BOM_UTF32_BE, 'utf-32-be'),
    (b'', 'utf-16-le'),
    (b'', 'utf-16-be'),
  ],
)
def test_encodings(tmp_path, mark, encoding):
  for suffix in ('json', 'jsonl'):
    path = tmp_path / f'a.{suffix}'
    path.write_bytes(mark + TEXT.encode(encoding))
    (film,) = screenplay.load(path)
    assert film.segments[0].prompt == 'Zoë läuft'


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'version https://git-lfs.github.com/spec/v1\noid', 'pointer of Git LFS'),
    (b'\n<!DOCTYPE html><html>', 'is a web page'),
    (b'\x89PNG\r\n\x1a\n', 'is a picture'),
    (b'PK\x03\x04', 'ZIP archive'),
    (
      b'a fox\na h\xe4re\n',
      'line 2: cannot be read as text .* save it as UTF-8',
    ),
    (b'a fox \0\0\0 runs', 'is not text'),
  ],
)
@pytest.mark.parametrize('suffix', ['json', 'jsonl', 'txt', 'csv'])
def test_what_is_no_text_is_named(tmp_path, data, message, suffix):
  path = tmp_path / f'a.{suffix}'
  path.write_bytes(data)
  with pytest.raises(UserError, match=message):
    screenplay.load(path)


def test_only_line_feeds_end_lines(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('a\u2028b\x0bc\x85d\n\n  \ne\rf\r\n', newline='')
  films = screenplay.load(path)
  prompts = [film.segments[0].prompt for film in films]
  assert prompts == ['a\u2028b\x0bc\x85d', 'e', 'f']


def test_a_separator_in_a_caption_is_part_of_it(tmp_path):
  path = tmp_path / 'captions.jsonl'
  path.write_text('{"file": "a.mp4", "shot": 0, "caption": "one\u2028two"}')
  assert captions.load(path) == {('a.mp4', 0): 'one\u2028two'}


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('caption', None, 'line 2: caption is null; it must be text'),
    ('caption', 3, 'line 2: caption is the number 3'),
    ('caption', True, 'line 2: caption is true'),
    ('caption', ['a'], 'line 2: caption is a list'),
    ('file', None, 'line 2: file is null'),
    ('shot', None, 'line 2: shot is null; it must be a whole number'),
    ('shot', 1.5, 'line 2: shot is the number 1.5'),
  ],
)
def test_captions_are_text(tmp_path, field, value, message):
  row = {'file': 'a.mp4', 'shot': 0, 'caption': 'a'}
  path = tmp_path / 'captions.jsonl'
  path.write_text('\n' + json.dumps(row | {field: value}))
  with pytest.raises(UserError, match=message):
    captions.load(path)


def test_a_shot_has_one_caption(tmp_path):
  row = {'file': 'é.mp4', 'shot': 0, 'caption': 'x'}
  decomposed = row | {'file': unicodedata.normalize('NFD', 'é.mp4')}
  path = tmp_path / 'captions.jsonl'
  path.write_text(f'{json.dumps(row)}\n{json.dumps(decomposed)}\n')
  assert captions.load(path) == {('é.mp4', 0): 'x'}
  path.write_text(
    f'{json.dumps(row)}\n{json.dumps(decomposed | {"caption": "y"})}\n'
  )
  with pytest.raises(UserError, match=r'line 2: captions shot 0 of .* line 1'):
    captions.load(path)


def test_names_of_files_are_composed():
  assert texts.composed(unicodedata.normalize('NFD', './b\\é.mp4')) == 'b/é.mp4'
