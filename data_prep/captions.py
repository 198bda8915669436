"""Captions of the shots of real clips.

A caption comes from a JSONL file with one shot per line,

  {"file": "clip.mp4", "shot": 0, "caption": "A woman runs over roofs"}

or, if it is not there, from a command that is given the path of a PNG frame and
prints a caption; without either it is neutral, such as "shot 3".
"""

import json
import pathlib
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from PIL import Image

from cinejax.core.errors import UserError
from cinejax.film.media import read_frames, save_image
from cinejax.film.texts import (
  composed,
  json_kind,
  numbered_lines,
  read_text,
)
from data_prep.shots import ShotExcerpt

Captions = Mapping[tuple[str, int], str]  # (file, shot) -> caption

_COMMAND_SECS = 600  # after which the command is stopped


def load(path: pathlib.Path) -> Captions:
  """Reads a JSONL file of captions.

  Raises UserError if it cannot be read, for a line that is not a caption, and
  for a second caption of a shot that differs from the first.
  """
  captions: dict[tuple[str, int], str] = {}
  lines: dict[tuple[str, int], int] = {}
  for number, line in numbered_lines(read_text(path)):
    key, caption = _row(line, f'{path} line {number}')
    if captions.get(key, caption) != caption:
      raise UserError(
        f'{path} line {number}: captions shot {key[1]} of {key[0]} otherwise '
        f'than line {lines[key]}; remove one of them'
      )
    captions[key], lines[key] = caption, number
  return captions


def _row(line: str, where: str) -> tuple[tuple[str, int], str]:
  """The file and shot of a line, and their caption."""
  try:
    row = json.loads(line)
  except (ValueError, RecursionError) as error:
    raise UserError(f'{where}: is not JSON ({error})') from error
  if not isinstance(row, dict) or not {'file', 'shot', 'caption'} <= row.keys():
    raise UserError(
      f'{where}: is not {{"file": …, "shot": 0, "caption": …}}; correct it'
    )
  for field in ('file', 'caption'):
    if not isinstance(row[field], str):
      raise UserError(
        f'{where}: {field} is {json_kind(row[field])}; it must be text'
      )
  try:
    shot = int(str(row['shot']))
  except ValueError as error:
    raise UserError(
      f'{where}: shot is {json_kind(row["shot"])}; it must be a whole number'
    ) from error
  return (composed(row['file']), shot), row['caption'].strip()


def parse_command(command: str) -> tuple[str, ...]:
  """The words of --caption_command.

  Raises UserError if a quote in it is not closed.
  """
  try:
    return tuple(shlex.split(command))
  except ValueError as error:
    raise UserError(
      f'--caption_command={command} is not a command ({error}); '
      'correct its quotes'
    ) from error


def caption(
  clip: pathlib.Path,
  name: str,
  excerpts: Sequence[ShotExcerpt],
  captions: Captions,
  command: Sequence[str] = (),
) -> tuple[dict[int, str], list[str]]:
  """Captions the shots of a clip.

  Args:
    clip: the file.
    name: of the clip in `captions`, which may also use its bare file name.
    excerpts: the shots, in order.
    captions: those that are known.
    command: captions the other shots; () = none.

  Returns:
    The caption of each shot, and descriptions of the command's failures.
  """
  found, problems = {}, []
  for excerpt in excerpts:
    for file in (composed(name), composed(clip.name)):
      if (file, excerpt.shot) in captions:
        found[excerpt.shot] = captions[file, excerpt.shot]
  missing = [excerpt for excerpt in excerpts if not found.get(excerpt.shot)]
  if command and missing:
    generated, problems = _generate(clip, missing, command)
    found |= generated
  for excerpt in excerpts:
    found[excerpt.shot] = found.get(excerpt.shot) or f'shot {excerpt.shot}'
  return found, problems


def _generate(
  clip: pathlib.Path, excerpts: Sequence[ShotExcerpt], command: Sequence[str]
) -> tuple[dict[int, str], list[str]]:
  """Runs the command on the middle frame of every shot."""
  found, problems = {}, []
  middles = {
    (excerpt.start + excerpt.stop) // 2: excerpt.shot for excerpt in excerpts
  }
  with tempfile.TemporaryDirectory() as folder:
    for number, frame_YXC in enumerate(read_frames(clip)):
      if number not in middles:
        continue
      shot = middles[number]
      still = pathlib.Path(folder) / f'{clip.stem}-{shot}.png'
      save_image(still, Image.fromarray(frame_YXC))
      try:
        found[shot] = _run(command, still)
      except (OSError, ValueError, subprocess.SubprocessError) as error:
        problems.append(f'shot {shot}: no caption from the command ({error})')
  return found, problems


def _run(command: Sequence[str], still: pathlib.Path) -> str:
  answer = subprocess.run(
    [*command, str(still)],
    check=True,
    capture_output=True,
    encoding='utf-8',  # raises ValueError for other output
    timeout=_COMMAND_SECS,
  )
  return ' '.join(answer.stdout.split())
