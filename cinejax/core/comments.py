"""What a config file says about its keys in comments, for `--help`.

The comments of configs/base.py are the one place that says what a key means:
beside its default, in the file that users read and copy. Python drops
comments, so they are read from the text.
"""

import ast
import io
import tokenize


def key_comments(source: str) -> dict[str, str]:
  """The comment of each key, such as 'film.fps': 'pixel frames per second'.

  A comment stands at the end of a key's lines, or on lines of its own above
  it; the latter also holds for the keys below, up to an empty line or another
  comment, and so does the comment of a section. `*` stands for names that
  only running the file would tell: in a function that makes a section `stage`,
  keys are called 'stage.*.KEY'.
  """
  beside, above = _comments(source)
  found: dict[str, str] = {}
  for function in ast.parse(source).body:
    if isinstance(function, ast.FunctionDef):
      _of_function(function, beside, above, found)
  return found


def comment_of(key: str, comments: dict[str, str]) -> str:
  """What `comments` say about the key 'a.b.c', which may be in 'a.*.c'."""
  section, _, rest = key.partition('.')
  inner = rest.partition('.')[2]
  return comments.get(f'{section}.*.{inner}') or comments.get(key, '')


def _comments(source: str) -> tuple[dict[int, str], dict[int, str]]:
  """Comments by line: at the end of a line of code, and on their own."""
  beside: dict[int, str] = {}
  above: dict[int, str] = {}
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      alone = not token.line[: token.start[1]].strip()
      text = token.string.lstrip('#').strip()
      (above if alone else beside)[token.start[0]] = text
  return beside, above


def _of_function(
  function: ast.FunctionDef,
  beside: dict[int, str],
  above: dict[int, str],
  found: dict[str, str],
) -> None:
  sections = {'config': ''}  # variable -> what its keys begin with
  shared, end = '', 0  # the comment that also holds below, its last line
  assigned = [
    node for node in ast.walk(function) if isinstance(node, ast.Assign)
  ]
  for node in sorted(assigned, key=lambda node: node.lineno):
    lines = range(node.lineno, node.end_lineno + 1)
    own = ' '.join(beside[line] for line in lines if line in beside)
    first = node.lineno
    while first - 1 in above:
      first -= 1
    if first < node.lineno:
      shared = ' '.join(above[line] for line in range(first, node.lineno))
    elif own or node.lineno > end + 1:
      shared = ''
    end = node.end_lineno
    keys = [_key(target, sections) for target in node.targets]
    for target, key in zip(node.targets, keys, strict=True):
      if isinstance(target, ast.Name):  # a section and the name it has here
        path = next((key for key in keys if key), f'{target.id}.*')
        sections[target.id] = f'{path}.' if target.id != 'config' else ''
        shared = own or shared
      elif key and (own or shared):
        found[key] = own or shared


def _key(target: ast.expr, sections: dict[str, str]) -> str:
  """'film.fps' of the target film.fps; '' of what is no key."""
  names = []
  while isinstance(target, ast.Attribute):
    names.append(target.attr)
    target = target.value
  if not names or not isinstance(target, ast.Name):
    return ''
  begin = sections.get(target.id, f'{target.id}.*.')
  return begin + '.'.join(reversed(names))
