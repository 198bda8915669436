"""README.md, BUILD.md and docs/: commands, links, names and tables."""

import functools
import importlib
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

from cinejax import command
from cinejax.core.errors import UserError
from configs import base

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ['README.md', 'BUILD.md']
PAGES += [f'docs/{path.name}' for path in sorted((ROOT / 'docs').glob('*.md'))]
LENGTHS = {'README.md': 120, 'BUILD.md': 200}  # lines, at most
FOLDERS = ('cinejax', 'configs', 'data_prep', 'launch', 'tests', 'docs')
FOLDERS += ('benchmarks', 'weights', 'screenplays')

# Every command of a block prints its words instead of running; restricted bash
# without a PATH can start nothing else.
SHELL = r"""
note() { printf '%s\x1f' "$@"; printf '\x1e'; }
python() { note python "$@"; }
bash() { note bash "$@"; }
pip() { :; }
python3() { :; }
hf() { :; }
source() { :; }
PATH=/nowhere
set -reu
"""


def read(page):
  return (ROOT / page).read_text(encoding='utf-8')


def spans(text):
  """The code spans of a page without its blocks."""
  text = re.sub('```.*?```', '', text, flags=re.DOTALL)
  return [re.sub(r'\s+', ' ', one) for one in re.findall('`([^`]+)`', text)]


def scripts(page):
  """The shell of a page: its blocks, and code spans that are commands."""
  text = read(page)
  found = re.findall('```sh\n(.*?)```', text, re.DOTALL)
  runs = re.compile(r'(time )?(python -m|bash) (?!\S*NAME)\S')
  return found + [one for one in spans(text) if runs.match(one)]


@functools.cache
def commands(page):
  """The commands of a page, as words."""
  lines = []
  for script in scripts(page):
    done = subprocess.run(
      ['bash', '-c', SHELL + script],
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, f'{page}: {script}{done.stderr}'
    lines += [line.split('\x1f')[:-1] for line in done.stdout.split('\x1e')]
  return [line for line in lines if line]


@pytest.fixture
def parse(monkeypatch):
  """-> parse(module, *words): the words become flags, and a config."""
  known = set(flags.FLAGS)

  def clear():
    flags.FLAGS.remove_flag_values(set(flags.FLAGS) - known)
    flags.FLAGS.unparse_flags()
    for name in known:
      flags.FLAGS[name].unparse()

  def parse(module, *words):
    module = importlib.import_module(module)
    argv = [module.__name__, *words]
    monkeypatch.setattr(sys, 'argv', argv)
    module.define_flags()
    try:
      command._parse(argv)
      if flags.FLAGS['config'].present:
        command.config()
    finally:
      clear()

  monkeypatch.chdir(ROOT)
  yield parse
  clear()


@pytest.mark.parametrize('page', PAGES)
def test_every_command_line_parses(page, parse):
  for words in commands(page):
    if words[0] == 'bash':
      assert (ROOT / words[1]).is_file(), f'{page}: {words}'
      paths = [word for word in words[2:] if word.startswith('tests/')]
      assert all((ROOT / path).exists() for path in paths), f'{page}: {words}'
      rest = words[2:]
      if words[1] == 'launch/demo.sh' and rest:
        given = ['--config=configs/story.py:four', '--weights=w', '--out=o']
        parse('cinejax.direct', *given, *rest)
    elif words[1] == '-m':
      _, _, module, *rest = words
      if not rest:  # only named
        assert importlib.util.find_spec(module), f'{page}: {words}'
        continue
      if module == 'cinejax.sweep':
        rest = [f'--config={rest[0]}', *rest[1:]]
      try:
        parse(module, *rest)
      except UserError as error:
        raise AssertionError(f'{page}: {" ".join(words)}: {error}') from error
    else:
      assert (ROOT / words[1]).is_file(), f'{page}: {words}'


def test_a_wrong_command_line_is_found(parse):
  right = ('--config=configs/story.py', '--weights=w', '--out=o')
  for wrong in ('--config.memory.polcy=window', '--config.rollout.steps=0'):
    with pytest.raises(UserError):
      parse('cinejax.evaluate', *right, wrong)
  with pytest.raises(UserError):
    parse('cinejax.evaluate', *right, '--polices=camr')
  with pytest.raises(UserError, match='out'):
    parse('cinejax.evaluate', *right[:2])
  parse('cinejax.evaluate', *right)


def headings(page):
  """The anchors of a page, as GitHub makes them."""
  text = re.sub('```.*?```', '', read(page), flags=re.DOTALL)
  found = re.findall('^#+ (.*)', text, re.MULTILINE)
  return {
    re.sub(r'[^\w -]', '', one.lower()).replace(' ', '-') for one in found
  }


@pytest.mark.parametrize('page', [*PAGES, 'CHANGELOG.md'])
def test_links_and_pictures_are_there(page):
  for link in re.findall(r'\]\(([^)\s]+)\)', read(page)):
    if re.match('https?:', link):
      continue
    file, _, anchor = link.partition('#')
    path = (ROOT / page).parent / file if file else ROOT / page
    assert path.exists(), f'{page}: {link}'
    if anchor:
      there = headings(str(path.resolve().relative_to(ROOT)))
      assert anchor in there, f'{page}: {link}'


@pytest.mark.parametrize('page', PAGES)
def test_files_that_are_named_are_there(page):
  for span in spans(read(page)):
    for path in re.findall(r'(?<![\w./-])[\w.]+/[\w./*-]*\w', span):
      if path.split('/')[0] in FOLDERS and 'NAME' not in path:
        there = list(ROOT.glob(path)) or path == 'weights/taef2'
        assert there, f'{page}: {span}'


@pytest.mark.parametrize('page', PAGES)
def test_config_keys_that_are_named_are_there(page):
  known = set(command._keys(base.get_config(), 'config'))
  known |= {'config.py', 'config.json', 'config.a.b'}  # files, and an example
  for key in re.findall(r'`(?:--)?(config\.[\w.]+)', read(page)):
    key = key.replace('stage.NAME', 'stage.base').rstrip('.')
    assert key in known or 'NAME' in key, f'{page}: {key}'


@pytest.mark.parametrize(('page', 'most'), LENGTHS.items())
def test_a_page_is_short(page, most):
  assert len(read(page).splitlines()) <= most


@pytest.mark.parametrize('page', [page for page in PAGES if 'docs/' in page])
def test_a_page_begins_with_a_command(page):
  _, _, first, *_ = read(page).splitlines()
  assert first == '```sh', page


@pytest.mark.parametrize('page', PAGES)
def test_definitions_that_are_named_are_there(page):
  """Checks phrases like `make_codec` in `cinejax/models/codec/select.py`."""
  text = re.sub(r'\s+', ' ', read(page))
  named = r'`([A-Za-z_]\w*)`(?: and `([A-Za-z_]\w*)`)? (?:in|of) `([\w/]+\.py)`'
  for *names, path in re.findall(named, text):
    for name in filter(None, names):
      source = (ROOT / path).read_text(encoding='utf-8')
      assert re.search(rf'\b{name}\b', source), f'{page}: {name} in {path}'


@pytest.mark.parametrize('table', ['plans', 'scaling'])
def test_generated_tables_have_all_rows(table):
  rows = read(f'benchmarks/{table}.jsonl').splitlines()
  marks = f'<!-- {table} -->\n(.*?)<!-- /{table} -->'
  (lines,) = re.findall(marks, read('docs/pods.md'), re.DOTALL)
  assert len(lines.splitlines()) == len(rows) + 2  # head


def test_tables_of_results_agree_with_the_measured_files(monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT / 'launch'))
  results = importlib.import_module('results')
  for page, marked in results.tables().items():
    for mark, table in marked.items():
      found = f'<!-- {mark} -->\n{table}<!-- /{mark} -->'
      assert found in read(page), f'{page}: run python launch/results.py'
