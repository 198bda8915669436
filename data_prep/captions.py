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
from data_prep.shots import ShotExcerpt

Captions = Mapping[tuple[str, int], str]  # (file, shot) -> caption

_COMMAND_SECS = 600  # after which the command is stopped


def load(path: pathlib.Path) -> Captions:
  """Reads a JSONL file of captions.

  Raises UserError if it cannot be read, or for a line that is not a caption.
  """
  try:
    lines = path.read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'--captions={path} cannot be read ({error})') from error
  captions = {}
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
      key = str(row['file']), int(row['shot'])
      captions[key] = str(row['caption']).strip()
    except (ValueError, TypeError, KeyError) as error:
      raise UserError(
        f'{path} line {number} is not {{"file": …, "shot": 0, "caption": …}} '
        f'({error!r})'
      ) from error
  return captions


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
    for file in (name, clip.name):
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
