"""What is said of each shot of a real clip.

A caption comes from a JSONL file, one shot a line,

  {"file": "clip.mp4", "shot": 0, "caption": "A woman runs over roofs"}

or else from a command that gets the path of a PNG frame and prints one, or
else it is neutral: "shot 3".
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
from data_prep.shots import Take

Captions = Mapping[tuple[str, int], str]  # (file, shot) -> caption

_COMMAND_SECS = 600  # after which a caption is given up


def load(path: pathlib.Path) -> Captions:
  """Reads a JSONL of captions; UserError names the line that is wrong."""
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
  """--caption_command in words; UserError if its quotes are not closed."""
  try:
    return tuple(shlex.split(command))
  except ValueError as error:
    raise UserError(
      f'--caption_command={command} is no command ({error}); mend its quotes'
    ) from error


def caption(
  clip: pathlib.Path,
  name: str,
  takes: Sequence[Take],
  captions: Captions,
  command: Sequence[str] = (),
) -> tuple[dict[int, str], list[str]]:
  """The caption of each shot, and what went wrong with the command.

  Args:
    clip: the file.
    name: what `captions` calls it; its bare file name will do too.
    takes: the shots, in order.
    captions: what is known.
    command: asked for what is not known, in words; () = none.
  """
  said, problems = {}, []
  for take in takes:
    for file in (name, clip.name):
      if (file, take.shot) in captions:
        said[take.shot] = captions[file, take.shot]
  missing = [take for take in takes if not said.get(take.shot)]
  if command and missing:
    asked, problems = _ask(clip, missing, command)
    said |= asked
  for take in takes:
    said[take.shot] = said.get(take.shot) or f'shot {take.shot}'
  return said, problems


def _ask(
  clip: pathlib.Path, takes: Sequence[Take], command: Sequence[str]
) -> tuple[dict[int, str], list[str]]:
  """Runs the command on the middle frame of every take."""
  said, problems = {}, []
  middles = {(take.start + take.stop) // 2: take.shot for take in takes}
  with tempfile.TemporaryDirectory() as folder:
    for number, frame_YXC in enumerate(read_frames(clip)):
      if number not in middles:
        continue
      shot = middles[number]
      still = pathlib.Path(folder) / f'{clip.stem}-{shot}.png'
      save_image(still, Image.fromarray(frame_YXC))
      try:
        said[shot] = _run(command, still)
      except (OSError, ValueError, subprocess.SubprocessError) as error:
        problems.append(f'shot {shot}: no caption from the command ({error})')
  return said, problems


def _run(command: Sequence[str], still: pathlib.Path) -> str:
  answer = subprocess.run(
    [*command, str(still)],
    check=True,
    capture_output=True,
    encoding='utf-8',  # ValueError for what is not
    timeout=_COMMAND_SECS,
  )
  return ' '.join(answer.stdout.split())
