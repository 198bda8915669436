"""Timelines of Scope (daydreamlive/scope): version 2 and workflows 1.0.

Times are seconds. Prompts continue one another without cuts. Prompts that are
mixed by weights are joined, and transitions are not read.
"""

from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.formats.parsing import (
  PROMPT_SECS,
  Document,
  note_unused,
  number,
  text_list,
)

_TIMES = (('startTime', 'endTime'), ('start_time', 'end_time'))


def matches(value: Any) -> bool:
  if not isinstance(value, dict):
    return False
  prompts = value.get('prompts')
  timed = isinstance(prompts, list) and all(
    isinstance(entry, dict) for entry in prompts
  )
  return value.get('format') == 'scope-workflow' or (timed and bool(prompts))


def read(value: Document, where: str) -> list[Document]:
  if value.get('format') == 'scope-workflow':
    timeline = value.get('timeline') or {}
    entries = timeline.get('entries') if isinstance(timeline, dict) else None
    named = value.get('metadata')
    name = named.get('name', '') if isinstance(named, dict) else ''
    unused = value.keys() - {'format', 'format_version', 'metadata', 'timeline'}
    field = 'timeline.entries'
  else:
    entries, name, field = value['prompts'], '', 'prompts'
    unused = value.keys() - {'prompts', 'version', 'exportedAt'}
  if not entries:  # one prompt without times
    entries, field = [{'prompts': value.get('prompts')}], 'prompts'
  if not isinstance(entries, list):
    raise UserError(f'{where}: {field} must be a list')
  segments = []
  for index, entry in enumerate(entries):
    place = f'{where}: {field}[{index}]'
    segments.append(
      {'prompt': _text(entry, place, unused), 'secs': _secs(entry, place)}
      | ({'cut': False} if index else {})
    )
  note_unused(where, 'Scope', unused - {'prompts'})
  document: Document = {'title': name, 'segments': segments}
  settings = value.get('settings')
  if isinstance(settings, dict) and type(settings.get('seed')) is int:
    document['seed'] = settings['seed']
  return [document]


def _text(entry: Any, where: str, unused: set[str]) -> str:
  if not isinstance(entry, dict):
    raise UserError(f'{where} must be an object with prompts')
  used = {'prompts', 'text', *(name for pair in _TIMES for name in pair)}
  unused |= {name for name in entry.keys() - used if entry[name]}
  if isinstance(entry.get('text'), str):
    return entry['text']
  mixed = entry.get('prompts')
  if not isinstance(mixed, list) or not mixed:
    raise UserError(f'{where}.prompts must be a list of texts with weights')
  texts = [one.get('text') if isinstance(one, dict) else one for one in mixed]
  if len(texts) > 1:
    unused.add('weight')
  return ' '.join(text_list(texts, f'{where}.prompts'))


def _secs(entry: Document, where: str) -> float:
  for start, end in _TIMES:
    if start in entry or end in entry:
      stop = number(entry.get(end), f'{where}.{end}')
      return stop - number(entry.get(start), f'{where}.{start}')
  return PROMPT_SECS
