"""Encodes what is said in a data set of films, once for each prompt.

  python -m data_prep.texts --config=configs/wan_1_3b.py --films=FILMS \\
    --config.text.folder=WAN

Training then reads captions from FILMS/text (cinejax/data/texts.py) and loads
no text encoder. Without it captions are encoded on the fly. A rerun encodes
what is new: more films, another negative prompt. --workers=N --worker=I takes
every N-th prompt; start one for each device.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.data import texts
from cinejax.data.sources import LatentFilms
from cinejax.interop.texts import load_text
from cinejax.models.text.select import Text
from data_prep import films

_FILE = 256  # prompts


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('films', None, 'The data set.', required=True)
  flags.DEFINE_integer('worker', 0, 'Which of --workers.', lower_bound=0)
  flags.DEFINE_integer('workers', 1, 'How many share it.', lower_bound=1)


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.worker >= args.workers:
    raise UserError(f'--worker={args.worker} must be below --workers')
  if cfg.text.actions:
    raise UserError(
      'config.text.actions is set; captions of single frames are not stored, '
      'training encodes them as it reads films'
    )
  prompts = LatentFilms(args.films).prompts() | {cfg.rollout.negative_prompt}
  folder = texts.folder(args.films)
  films.claim(
    folder,
    {
      'encoder': cfg.text.name,
      'words': cfg.text.words,
      'features': cfg.text.features,
    },
  )
  mine = sorted(prompts)[args.worker :: args.workers]
  text = load_text(cfg.text)
  with Progress(console=Console(stderr=True)) as progress:
    task = progress.add_task('prompts', total=len(mine))
    made = 0
    for count in encode(args.films, mine, text, f'worker-{args.worker:03d}'):
      made += count
      progress.update(task, completed=made)
  print(f'{made} prompts encoded, {len(mine) - made} were there; {folder}')


def encode(
  path: str, prompts: Sequence[str], text: Text, name: str
) -> Iterator[int]:
  """Writes the prompts that are not there yet, in files NAME-00000 and on.

  Yields the number of prompts in each file that was written.
  """
  stored = texts.StoredText(path, 1, 1)
  missing = [prompt for prompt in prompts if prompt not in stored]
  named = (
    texts.folder(path) / f'{name}-{number:05d}.safetensors'
    for number in itertools.count()
  )
  files = (file for file in named if not file.exists())
  for start in range(0, len(missing), _FILE):
    batch = missing[start : start + _FILE]
    texts.write(next(files), {x: _tokens(text, x) for x in batch})
    yield len(batch)


def _tokens(text: Text, prompt: str) -> np.ndarray:
  """[w, D], without the padding; at least one row, of zeros."""
  text_WD = text.encode([prompt])[0]
  said = np.flatnonzero(text_WD.any(-1))
  return text_WD[: said[-1] + 1 if said.size else 1]


if __name__ == '__main__':
  define_flags()
  command.run(main)
