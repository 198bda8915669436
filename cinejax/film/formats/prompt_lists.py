"""Lists of prompts without lengths, which become films of PROMPT_SECS a prompt.

* Plain text with a prompt on each line, as MovieGen's benchmark is used
  (guandeh17/Self-Forcing): each line is a film.
* VBench (Vchitect/VBench): `[{"prompt_en": …}]`, and stories
  `[{"summary": …, "storyline": […]}]`, whose prompts are shots of one film.
"""

from typing import Any

from cinejax.film.formats.parsing import (
  PROMPT_SECS,
  Document,
  note_unused,
  text_list,
  title,
)


def plain_prompt(line: str) -> Document:
  return {'segments': [{'prompt': line, 'secs': PROMPT_SECS}]}


def matches(value: Any) -> bool:
  entries = value if isinstance(value, list) else [value]
  return bool(entries) and all(
    isinstance(entry, dict) and ('prompt_en' in entry or 'storyline' in entry)
    for entry in entries
  )


def read(value: Any, where: str) -> list[Document]:
  films, unused = [], set()
  for index, entry in enumerate(value if isinstance(value, list) else [value]):
    unused |= entry.keys() - {'prompt_en', 'storyline', 'summary'}
    if 'prompt_en' in entry:
      films.append(plain_prompt(entry['prompt_en']))
      continue
    prompts = text_list(entry['storyline'], f'{where}: [{index}].storyline')
    segments = [{'prompt': prompt, 'secs': PROMPT_SECS} for prompt in prompts]
    films.append(
      {'title': title(entry.get('summary', '')), 'segments': segments}
    )
  note_unused(where, 'VBench', unused)
  return films
