"""Screenplays: films as segments of one prompt each, read from files.

The format is a JSON object, or a `.jsonl` file with one such object a line:

  {"title": "…",               optional
   "seed": 7,                  optional, the seed of the film's noise
   "global_prompt": "…",       optional, for segments that have none
   "cast": {"Ada": "ada.png"}, optional, pictures of characters (film/cast.py)
   "segments": [
     {"prompt": "…",           what is seen
      "chunks": 4,             length in chunks, or else
      "secs": 3.0,             length in seconds, rounded to whole chunks
      "cut": true,             optional; false continues the previous shot
      "global_prompt": "…",    optional, put before the prompt
      "blend_chunks": 2,       optional, chunks over which the old text fades
      "policy": "window",      optional, from here on: the memory policy,
      "steps": 8,              the denoising steps of a chunk,
      "guidance": 2.0,         the guidance,
      "routed_frames": 3,      how many past frames the memory routes,
      "lora_strength": 0.5,    the factor on the strengths of --lora,
      "seed": 7,               and the seed of the noise
      "camera": "w*8,a*4"}     optional, moves of the camera in successive
                               latent frames (moves.py)
   ]}

The first segment opens shot 0, whatever its `cut` is. `load` also reads the
formats of other projects (`film/formats/`). In the first chunk of a cut shot
the model reads

  <cut prefix><global prompt> <prompt>

and in every other chunk the same without the prefix. The prompt is the only
condition of the model, so the prefix is what tells it about a cut.
"""

import dataclasses
import difflib
import json
import os
import pathlib
import re
import reprlib
from typing import Any

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.film import moves
from cinejax.film.cast import beside, cast_document, parse_cast
from cinejax.film.config import MAX_CHUNKS
from cinejax.film.formats import detect, longlive
from cinejax.film.journal import ChunkPrompt, Film, Journal, Segment, too_long
from cinejax.film.timeline import whole_chunks

# One half of a surrogate pair, which JSON can hold and UTF-8 cannot.
_SURROGATE = re.compile('[\ud800-\udfff]')


def segment_chunks(film: Film, chunk_secs: float) -> tuple[int, ...]:
  """The chunks of each segment.

  Raises UserError if there are more than a film may have.
  """
  chunks = tuple(
    segment.chunks or whole_chunks(segment.secs, chunk_secs)
    for segment in film.segments
  )
  if sum(chunks) > MAX_CHUNKS:
    raise UserError(
      f'{film.source}: has {sum(chunks)} chunks, and {too_long(MAX_CHUNKS)}; '
      'split it into two films'
    )
  return chunks


def chunk_prompts(
  film: Film, cut_prefix: str, chunk_secs: float
) -> tuple[ChunkPrompt, ...]:
  """The prompt of every chunk of the film; a chunk is `chunk_secs` long.

  Raises UserError as `segment_chunks` does.
  """
  journal, prompts = Journal(cut_prefix), []
  lengths = segment_chunks(film, chunk_secs)
  for segment, chunks in zip(film.segments, lengths, strict=True):
    journal.add(segment)
    prompts += [journal.next_chunk() for _ in range(chunks)]
  return tuple(prompts)


def load(
  path: str | os.PathLike, chunks: int | None = None
) -> tuple[Film, ...]:
  """Reads the films of a file or folder, whichever format it is in.

  Args:
    path: a .json, .jsonl, .csv or .txt file, a shot folder, or a folder of
      those; the structure decides which format it is.
    chunks: the exact length of films from shot folders: longer ones are cut
      short, shorter ones extend their last shot. None: their own length.

  Raises:
    UserError: if a film cannot be read; it names the file, the shot and the
      field.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    found = detect.read_folder(path, chunks)
  else:
    found = detect.read_file(path)
  if not found:
    raise UserError(f'{path}: holds no film; write at least one')
  folder = path if path.is_dir() else path.parent
  films = (parse(document, where) for where, document in found)
  return tuple(
    dataclasses.replace(film, cast=beside(film.cast, folder)) for film in films
  )


def save(film: Film, path: str | os.PathLike) -> None:
  """Writes `film` to a file from which `load` reads the same film."""
  with atomic_path(path) as partial:
    partial.write_text(
      json.dumps(document(film), indent=2, ensure_ascii=False) + '\n',
      encoding='utf-8',
    )


def document(film: Film) -> dict[str, Any]:
  """`film` as a JSON object from which `parse` reads the same film."""
  segments = [segment_fields(segment) for segment in film.segments]
  seed = {} if film.seed is None else {'seed': film.seed}
  cast = {'cast': cast_document(film.cast)} if film.cast else {}
  return {'title': film.title} | seed | cast | {'segments': segments}


def segment_fields(segment: Segment) -> dict[str, Any]:
  """The fields of a segment that are not empty."""
  return {
    key: value
    for key, value in dataclasses.asdict(segment).items()
    if value not in (None, '') and (key, value) != ('blend_chunks', 0)
  }


def parse(document: Any, where: str) -> Film:
  """The film of a JSON object in the format of this module.

  Raises UserError that names `where` and the field, if it is another object.
  """
  if isinstance(document, dict) and 'prompts' in document:
    document = longlive.interactive_prompts(document, where)
  fields = {
    'title': str,
    'seed': int,
    'global_prompt': str,
    'cast': dict,
    'segments': list,
  }
  check_object(document, fields, where)
  if not document.get('segments'):
    raise UserError(f'{where}: segments is missing or empty; a film needs one')
  segments, shot = [], 0
  for index, entry in enumerate(document['segments']):
    shot += bool(index and not (isinstance(entry, dict) and not _cut(entry)))
    location = f'{where}: shot {shot}, segments[{index}]'
    segments.append(
      _segment(entry, document.get('global_prompt', ''), location)
    )
  seed = document.get('seed')
  check_seed(seed, where)
  cast = parse_cast(document.get('cast', {}), where)
  return Film(tuple(segments), document.get('title', ''), seed, where, cast)


def check_seed(seed: int | None, where: str) -> None:
  """Raises UserError for a seed that is no 32-bit number."""
  if seed is not None and not 0 <= seed < 2**32:
    raise UserError(f'{where}: seed is {seed}; it must be 0 to {2**32 - 1}')


def _cut(entry: dict[str, Any]) -> bool:
  return entry.get('cut', True) is not False


def _segment(entry: Any, global_prompt: str, location: str) -> Segment:
  fields = {
    'prompt': str,
    'chunks': int,
    'secs': (int, float),
    'cut': bool,
    'global_prompt': str,
    'blend_chunks': int,
    'policy': str,
    'steps': int,
    'guidance': (int, float),
    'routed_frames': int,
    'lora_strength': (int, float),
    'seed': int,
    'camera': str,
  }
  check_object(entry, fields, location)
  if not entry.get('prompt', '').strip():
    raise UserError(f'{location}.prompt is missing or empty; say what is seen')
  if ('chunks' in entry) == ('secs' in entry):
    raise UserError(f'{location}.chunks or .secs must be given, and only one')
  for name in ('chunks', 'secs', 'blend_chunks', 'steps', 'guidance'):
    if name in entry and not 0 < entry[name] <= MAX_CHUNKS:
      raise UserError(
        f'{location}.{name} is {reprlib.repr(entry[name])}; it must be > 0 and '
        f'at most {MAX_CHUNKS}'
      )
  for name in ('routed_frames', 'lora_strength'):
    if not 0 <= entry.get(name, 0) <= MAX_CHUNKS:
      raise UserError(
        f'{location}.{name} is {reprlib.repr(entry[name])}; it must be 0 to '
        f'{MAX_CHUNKS}'
      )
  check_seed(entry.get('seed'), location)
  if entry.get('camera'):
    moves.parse(entry['camera'], f'{location}.camera')
  return Segment(**{'global_prompt': global_prompt, **entry})


def check_object(document: Any, fields: dict[str, Any], location: str) -> None:
  """Checks a JSON object against the types of its `fields`.

  Raises UserError for another type than an object, for unknown keys, for
  values of wrong types and for text that is no valid Unicode.
  """
  if not isinstance(document, dict):
    raise UserError(
      f'{location} must be an object, not {reprlib.repr(document)}'
    )
  for key, value in document.items():
    if key not in fields:
      near = difflib.get_close_matches(key, fields, n=1, cutoff=0)[0]
      raise UserError(f'{location} has an unknown key {key}; is it {near}?')
    wrong = not isinstance(value, fields[key])
    # To Python, a bool is an int.
    if wrong or (isinstance(value, bool) and fields[key] is not bool):
      shown = 'null' if value is None else reprlib.repr(value)
      raise UserError(f'{location}.{key} has a wrong type: {shown}')
    if isinstance(value, str) and _SURROGATE.search(value):
      raise UserError(
        f'{location}.{key} holds half a character; write all of it'
      )
