"""Writes films in the formats of other projects, as `formats` reads them.

A global prompt that all segments share stays one where the format has it;
otherwise it is put before each prompt. What a format cannot express (cuts,
continuations, lengths, settings) is named in a note.
"""

import json
import pathlib
from collections.abc import Callable, Sequence

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.core.notes import note
from cinejax.film import screenplay
from cinejax.film.formats import fastvideo, holocine, storymem
from cinejax.film.formats.parsing import FPS, PROMPT_SECS, Document
from cinejax.film.journal import Film, Segment


def write_films(
  films: Sequence[Film],
  to: str,
  out: pathlib.Path,
  name: str,
  chunk_secs: float,
) -> list[pathlib.Path]:
  """Writes films to the folder `out` in the format `to`, one of FORMATS.

  Args:
    films: at least one.
    to: the format.
    out: the folder.
    name: of the files, without suffix; several films are numbered.
    chunk_secs: length of a chunk, for formats that count seconds or frames.

  Returns:
    The files or folders that were written.

  Raises:
    UserError: for films that the format cannot hold at all.
  """
  paths = []
  for number, film in enumerate(films):
    stem = f'{name}-{number:03}' if len(films) > 1 else name
    if to == 'longlive2':
      paths.append(_write_folder(film, out / stem, chunk_secs))
      continue
    suffix, make = _MAKERS[to]
    text = make(film, chunk_secs)
    if suffix in ('.txt', '.jsonl'):  # a line a film
      if number:
        text = paths[0].read_text(encoding='utf-8') + text
      path = out / f'{name}{suffix}'
    else:
      path = out / f'{stem}{suffix}'
    with atomic_path(path) as partial:
      partial.write_text(text, encoding='utf-8')
    paths = [path] if suffix in ('.txt', '.jsonl') else [*paths, path]
  return paths


def _cinejax(film: Film, chunk_secs: float) -> str:
  return _json(screenplay.document(film))


def _shotstream(film: Film, chunk_secs: float) -> str:
  _note_lost(film, 'ShotStream', cuts=False)
  shared, prompts = _prompts(film)
  lengths = [_secs(one, chunk_secs) * FPS for one in film.segments]
  document = {'sample_id': film.title or '0', 'global_caption': shared}
  # The number of frames is 4 n + 1.
  frames = [4 * max(1, round((length - 1) / 4)) + 1 for length in lengths]
  document['frames_per_shot'] = frames
  shots = {f'shot{i}': prompt for i, prompt in enumerate(prompts, 1)}
  return _json(document | shots)


def _storymem(film: Film, chunk_secs: float) -> str:
  _note_lost(film, 'StoryMem', lengths=storymem.SECS, chunk_secs=chunk_secs)
  cuts = [segment.cut or not i for i, segment in enumerate(film.segments)]
  scene = {
    'scene_num': 1,
    'video_prompts': [segment.full_prompt for segment in film.segments],
    'cut': cuts,
  }
  return _json({'story_name': film.title, 'scenes': [scene]})


def _scope(film: Film, chunk_secs: float) -> str:
  _note_lost(film, 'Scope', cuts=True)
  entries, start = [], 0.0
  for segment in film.segments:
    end = start + _secs(segment, chunk_secs)
    texts = [{'text': segment.full_prompt, 'weight': 100}]
    entries.append({'startTime': start, 'endTime': end, 'prompts': texts})
    start = end
  document: Document = {'prompts': entries, 'version': '2.1'}
  if film.seed is not None:
    document['settings'] = {'seed': film.seed}
  return _json(document)


def _dreamverse(film: Film, chunk_secs: float) -> str:
  _note_lost(
    film, 'Dreamverse', cuts=True, lengths=fastvideo.SECS, chunk_secs=chunk_secs
  )
  label = film.title or 'film'
  prompts = [segment.full_prompt for segment in film.segments]
  return _json([{'id': label, 'label': label, 'segment_prompts': prompts}])


def _longlive(film: Film, chunk_secs: float) -> str:
  _note_lost(
    film, 'LongLive', cuts=True, lengths=PROMPT_SECS, chunk_secs=chunk_secs
  )
  prompts = [segment.full_prompt for segment in film.segments]
  return json.dumps({'prompts': prompts}, ensure_ascii=False) + '\n'


def _holocine(film: Film, chunk_secs: float) -> str:
  _note_lost(film, 'HoloCine', cuts=False)
  shared, prompts = _prompts(film)
  ends, end = [], 0.0
  for segment in film.segments:
    end += _secs(segment, chunk_secs) * holocine.FPS
    ends.append(round(end))
  document: Document = {
    'global_caption': shared,
    'shot_captions': prompts,
    'num_frames': ends[-1],
    'shot_cut_frames': ends[:-1],
  }
  return _json(document | ({} if film.seed is None else {'seed': film.seed}))


def _plain(film: Film, chunk_secs: float) -> str:
  if len(film.segments) > 1:
    raise UserError(
      f'{film.source}: has {len(film.segments)} segments, and a list of '
      'prompts has one line a film; choose another --to'
    )
  _note_lost(
    film, 'a list of prompts', lengths=PROMPT_SECS, chunk_secs=chunk_secs
  )
  return ' '.join(film.segments[0].full_prompt.split()) + '\n'


def _write_folder(
  film: Film, folder: pathlib.Path, chunk_secs: float
) -> pathlib.Path:
  """LongLive 2: a caption a shot, and the chunks of each shot."""
  _note_lost(film, 'LongLive 2', cuts=False)
  if list(folder.glob('*.json')):
    raise UserError(f'{folder} holds files already; name another --out')
  for number, segment in enumerate(film.segments, 1):
    with atomic_path(folder / f'{number:06}.json') as partial:
      text = _json({'caption': segment.full_prompt})
      partial.write_text(text, encoding='utf-8')
  lengths = screenplay.segment_chunks(film, chunk_secs)
  with atomic_path(folder / 'shot_durations.txt') as partial:
    partial.write_text('\n'.join(map(str, lengths)) + '\n')
  return folder


_MAKERS: dict[str, tuple[str, Callable[[Film, float], str]]] = {
  'cinejax': ('.json', _cinejax),
  'shotstream': ('.json', _shotstream),
  'storymem': ('.json', _storymem),
  'scope': ('.json', _scope),
  'dreamverse': ('.json', _dreamverse),
  'longlive': ('.jsonl', _longlive),
  'holocine': ('.json', _holocine),
  'prompts': ('.txt', _plain),
}
FORMATS = (*_MAKERS, 'longlive2')


def _secs(segment: Segment, chunk_secs: float) -> float:
  return segment.secs or segment.chunks * chunk_secs


def _prompts(film: Film) -> tuple[str, list[str]]:
  """The global prompt that all segments share, and what is left of each."""
  shared = {segment.global_prompt for segment in film.segments}
  if len(shared) == 1:
    return shared.pop(), [segment.prompt for segment in film.segments]
  return '', [segment.full_prompt for segment in film.segments]


def _note_lost(
  film: Film,
  project: str,
  *,
  cuts: bool | None = None,
  lengths: float | None = None,
  chunk_secs: float = 0.0,
) -> None:
  """Names what is lost: segments whose cut is `cuts`, other lengths than
  `lengths` seconds, and settings.
  """
  lost = []
  later = film.segments[1:]
  if cuts is not None and any(segment.cut == cuts for segment in later):
    lost.append('cuts' if cuts else 'segments without a cut')
  if lengths is not None and any(
    abs(_secs(segment, chunk_secs) - lengths) > 1e-6
    for segment in film.segments
  ):
    lost.append(f'lengths other than {lengths:.4g} seconds')
  if any(segment.settings.given() for segment in film.segments):
    lost.append('policy, steps and other settings')
  if any(segment.camera for segment in film.segments):
    lost.append('moves of the camera')
  if any(segment.seed is not None for segment in film.segments):
    lost.append('seeds of segments')
  if any(segment.blend_chunks for segment in film.segments):
    lost.append('blend_chunks')
  if film.cast:
    lost.append('pictures of the cast')
  if lost:
    note(f'{film.source}: {project} has no counterpart of {", ".join(lost)}')


def _json(value: Document | list[Document]) -> str:
  return json.dumps(value, indent=2, ensure_ascii=False) + '\n'
