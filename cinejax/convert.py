"""Converts the weights of a DiT, or screenplays, to another layout.

  python -m cinejax.convert --source=DIR --out=DIR \\
    --to=cinejax|diffusers|wan|self_forcing

--source is a file or a folder: Wan 2.1 as published, a pipeline of diffusers or
its transformer, a checkpoint of Self Forcing or Causal Forcing (.pt; --network
names one of its networks, by default the averaged one), or weights of cinejax.
Numbers and their types stay as they are, so that a round trip is bit-equal;
quantized weights become bfloat16 (float8) or float32 (those with scales, GGUF).
--dtype writes another type. Tensors are read and written in pieces, so that the
host needs little memory, however large the model is. --lora merges adapters for
Wan.

The layouts that --to names are written as

  cinejax          NAME.safetensors, where --name gives NAME
  diffusers, wan   diffusion_pytorch_model.safetensors and config.json
  self_forcing     NAME.pt, in which the network is both `generator` and
                   `generator_ema`

Weights larger than --shard_gb become shards with an index. Text encoders and
codecs are not converted: cinejax reads the published files.

  python -m cinejax.convert --screenplay=FILE --out=DIR \\
    --to=cinejax|shotstream|storymem|scope|dreamverse|longlive|longlive2|\\
         holocine|prompts

reads the films of a file or folder in any format (cinejax/film/formats/) and
writes them to DIR as NAME, or NAME-000 and so on if there are several.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping

from absl import flags
from rich.console import Console
from rich.progress import (
  BarColumn,
  DownloadColumn,
  Progress,
  TextColumn,
  TimeRemainingColumn,
)

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path, check_folder
from cinejax.film import screenplay
from cinejax.film.exporting import FORMATS, write_films
from cinejax.interop import foreign, names, sizes, views
from cinejax.interop.adapters import parse, with_adapter
from cinejax.interop.archive import PUBLISHED_NAME, locate, open_archive
from cinejax.interop.mapped import Tensor, tensor_bytes
from cinejax.interop.pickling import write_torch
from cinejax.interop.shards import write_shards
from cinejax.interop.typed import DTYPES, cast


def define_flags() -> None:
  """Defines the flags, apart from import, so that commands can share one
  process.
  """
  flags.DEFINE_string('source', None, 'Weights file, or folder with one.')
  flags.DEFINE_string('screenplay', None, 'Films to convert instead.')
  layouts = [*_WRITERS, *(to for to in FORMATS if to not in _WRITERS)]
  flags.DEFINE_enum('to', None, layouts, 'Layout to write.', required=True)
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_string(
    'name',
    'base',
    "Name of cinejax's and self_forcing's files, without suffix.",
  )
  flags.DEFINE_multi_string(
    'lora',
    [],
    'Adapter to merge, FILE or FILE:STRENGTH; may be repeated.',
  )
  flags.DEFINE_enum(
    'dtype',
    None,
    DTYPES,
    'Type of the weights to write; float8 has a scale for each matrix of the '
    'blocks and bfloat16 for the others. Without it types stay as they are.',
  )
  flags.DEFINE_string(
    'network', '', 'Network to read, of a checkpoint with several.'
  )
  flags.DEFINE_float(
    'chunk_secs',
    0.75,
    'Length of a chunk, for screenplays that give lengths in chunks.',
    lower_bound=1e-3,
  )
  flags.DEFINE_float(
    'shard_gb', 5.0, 'Greatest size of a file, in GB.', lower_bound=1e-6
  )


def main() -> None:
  args = flags.FLAGS
  out = check_folder(args.out)
  if bool(args.source) == bool(args.screenplay):
    raise UserError('give --source or --screenplay, and only one of them')
  known = FORMATS if args.screenplay else _WRITERS
  if args.to not in known:
    raise UserError(f'--to={args.to} must be one of {", ".join(known)}')
  if args.screenplay:
    _convert_films(out)
    return
  source = locate(args.source, args.name)
  if source.parent.resolve() == out.resolve():
    raise UserError(f'--out={out}: the source lies there; name another folder')
  if args.dtype == 'float8' and args.to not in ('wan', 'diffusers'):
    raise UserError(
      f'--to={args.to} has no place for scales; --dtype=float8 needs --to=wan '
      'or --to=diffusers'
    )
  archive = open_archive(source, args.network)
  layout = names.layout_of(archive.tensors)
  if layout is None:
    what = foreign.describe(archive.tensors)
    raise UserError(
      f'{source} holds no DiT of Wan 2.1 or of cinejax'
      f'{f": {what}" if what else "; give the weights of one"}'
    )
  cfg = sizes.read_sizes(archive, layout)
  try:
    leaves = views.to_leaves(archive.tensors, layout, sizes.leaf_shapes(cfg))
    for file in args.lora:
      leaves = with_adapter(leaves, *parse(file))
    summary = _WRITERS[args.to](out, args.name, leaves, cfg, archive.metadata)
  except UserError as error:
    raise UserError(f'{source}: {error}') from error
  print(f'{summary}, from {layout} to {args.to}')


def _convert_films(out: pathlib.Path) -> None:
  args = flags.FLAGS
  films = screenplay.load(args.screenplay)
  paths = write_films(films, args.to, out, args.name, args.chunk_secs)
  several = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
  print(f'{paths[0]}{several}: {len(films)} films in the format {args.to}')


def _write_cinejax(out, name, leaves, cfg, metadata) -> str:
  if 'config' not in metadata:
    metadata = {'config': json.dumps({'dit': dataclasses.asdict(cfg)})}
  return _write_shards(out, name, leaves, metadata)


def _write_folder(layout, out, name, leaves, cfg, metadata) -> str:
  tensors = views.from_leaves(leaves, layout)
  summary = _write_shards(out, PUBLISHED_NAME, tensors, {'format': 'pt'})
  with atomic_path(out / 'config.json') as file:
    content = sizes.config_json(cfg, layout)
    file.write_text(json.dumps(content, indent=2) + '\n')
  return summary


def _write_checkpoint(out, name, leaves, cfg, metadata) -> str:
  wan = views.from_leaves(leaves, 'wan')
  wan = _as_flagged(wan)
  tensors = {f'model.{key}': tensor for key, tensor in wan.items()}
  path = out / f'{name}.pt'
  with _progress(tensors) as on_written:
    write_torch(path, ('generator', 'generator_ema'), tensors, on_written)
  return _summary(path, tensors)


_WRITERS = {
  'cinejax': _write_cinejax,
  'diffusers': functools.partial(_write_folder, 'diffusers'),
  'wan': functools.partial(_write_folder, 'wan'),
  'self_forcing': _write_checkpoint,
}


def _as_flagged(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
  """The tensors in the type of --dtype."""
  dtype = flags.FLAGS.dtype
  return cast(tensors, dtype) if dtype else tensors


def _write_shards(out, name, tensors, metadata) -> str:
  tensors = _as_flagged(tensors)
  shard_bytes = int(flags.FLAGS.shard_gb * 1e9)
  with _progress(tensors) as on_written:
    path = write_shards(
      out,
      name,
      tensors,
      metadata,
      shard_bytes=shard_bytes,
      on_written=on_written,
    )
  return _summary(path, tensors)


def _summary(path: pathlib.Path, tensors: Mapping[str, Tensor]) -> str:
  total = sum(map(tensor_bytes, tensors.values()))
  return f'{path}: {len(tensors)} tensors, {total / 1e9:.3g} GB'


@contextlib.contextmanager
def _progress(
  tensors: Mapping[str, Tensor],
) -> Iterator[Callable[[int], None]]:
  """Shows a progress bar on a terminal.

  Yields the function to call with the number of bytes of each written piece.
  """
  console = Console(stderr=True)
  bar = Progress(
    TextColumn('converting'),
    BarColumn(),
    DownloadColumn(),
    TimeRemainingColumn(),
    console=console,
    disable=not console.is_terminal,
  )
  with bar:
    task = bar.add_task('', total=sum(map(tensor_bytes, tensors.values())))
    yield lambda count: bar.update(task, advance=count)


if __name__ == '__main__':
  define_flags()
  command.run(main)
