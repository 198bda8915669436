"""Encodes the prompts of a data set of films, each of them once.

  python -m data_prep.texts --config=configs/wan_1_3b.py --films=FILMS \\
    --config.text.folder=WAN

Training then reads encoded prompts from FILMS/text (cinejax/data/texts.py) and
loads no text encoder; otherwise it encodes prompts as it reads films. A rerun
encodes only new prompts, of more films or a different negative prompt. With
--workers=N --worker=I a process encodes every N-th prompt; start one process
for each device.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.data import tables, texts
from cinejax.data.sources import LatentFilms
from cinejax.interop.texts import load_text
from cinejax.models.text.select import Text
from data_prep import films, workers

_FILE = 256  # prompts in a file


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('films', None, 'The data set.', required=True)
  workers.define_flags()


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  own = workers.own_slice()
  if cfg.text.steered:
    raise UserError(
      'config.text.actions or config.text.camera is set; prompts with actions '
      'are not stored, since '
      'training encodes them as it reads films'
    )
  prompts = LatentFilms(args.films).prompts() | {cfg.rollout.negative_prompt}
  folder = texts.folder(args.films)
  films.record_settings(
    folder,
    {
      'encoder': cfg.text.name,
      'words': cfg.text.words,
      'features': cfg.text.features,
    },
  )
  mine = sorted(prompts)[own]
  text = load_text(cfg.text)
  with Progress(console=Console(stderr=True)) as progress:
    task = progress.add_task('prompts', total=len(mine))
    encoded = 0
    for count in encode(args.films, mine, text, f'worker-{args.worker:03d}'):
      encoded += count
      progress.update(task, completed=encoded)
  print(f'{encoded} prompts encoded, {len(mine) - encoded} were in {folder}')


def encode(
  path: str, prompts: Sequence[str], text: Text, name: str
) -> Iterator[int]:
  """Encodes prompts and writes those that are not stored yet.

  Args:
    path: the data set of films.
    prompts: to encode.
    text: the encoder.
    name: of the files, which are NAME-00000.safetensors and so on.

  Yields:
    The number of prompts in each file that was written.
  """
  stored = texts.TextTable(path, 1, 1)
  missing = [prompt for prompt in prompts if prompt not in stored]
  named = (
    texts.folder(path) / f'{name}-{number:05d}.safetensors'
    for number in itertools.count()
  )
  files = (file for file in named if not file.exists())
  for start in range(0, len(missing), _FILE):
    batch = missing[start : start + _FILE]
    tables.write(next(files), {x: _tokens(text, x) for x in batch})
    yield len(batch)


def _tokens(text: Text, prompt: str) -> np.ndarray:
  """Features [w, D] without padding; a row of zeros for an empty prompt."""
  text_WD = text.encode([prompt])[0]
  filled = np.flatnonzero(text_WD.any(-1))
  return text_WD[: filled[-1] + 1 if filled.size else 1]


if __name__ == '__main__':
  define_flags()
  command.run(main)
