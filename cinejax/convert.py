"""Rewrites the weights of a DiT in another layout.

  python -m cinejax.convert --source=DIR --out=DIR \\
    --to=cinejax|diffusers|wan|self_forcing

--source is a file or a folder: Wan 2.1 as published, a pipeline of diffusers
or its transformer, a checkpoint of Self Forcing or Causal Forcing (.pt; its
averaged network, unless --network says another), or weights of ours. Numbers
and their types stay as they are, so that a round trip is bit-equal. Tensors
are read and written a piece at a time: the host needs memory for one, however
large the model. --lora merges LoRA files for Wan on the way.

cinejax   NAME.safetensors, NAME = --name
diffusers, wan
          diffusion_pytorch_model.safetensors and config.json

self_forcing
          NAME.pt, whose `generator` and `generator_ema` are the network

Beyond --shard_gb there are shards and an index. Encoders and decoders are not
touched: what reads Wan's reads its own files.
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
from cinejax.interop import names, sizes, views
from cinejax.interop.adapters import with_adapter
from cinejax.interop.archive import THEIR_NAME, locate, open_archive
from cinejax.interop.mapped import Tensor, tensor_bytes
from cinejax.interop.pickling import write_torch
from cinejax.interop.shards import write_shards


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('source', None, 'File or folder.', required=True)
  flags.DEFINE_enum('to', None, [*_WRITERS], 'Layout.', required=True)
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_string('name', 'base', 'Of our weights, in and out.')
  flags.DEFINE_multi_string('lora', [], 'LoRA file to merge; may be repeated.')
  flags.DEFINE_string('network', '', 'Which, of a checkpoint with several.')
  flags.DEFINE_float('shard_gb', 5.0, 'At most, of one file.', lower_bound=1e-6)


def main() -> None:
  args = flags.FLAGS
  out = check_folder(args.out)
  source = locate(args.source, args.name)
  if source.parent.resolve() == out.resolve():
    raise UserError(f'--out={out}: the source lies there; name another folder')
  archive = open_archive(source, args.network)
  layout = names.layout_of(archive.tensors)
  if layout is None:
    raise UserError(f'{source} holds no DiT of Wan 2.1 or of ours')
  cfg = sizes.read_sizes(archive, layout)
  try:
    leaves = views.as_ours(archive.tensors, layout, sizes.leaf_shapes(cfg))
    for file in args.lora:
      leaves = with_adapter(leaves, file)
    told = _WRITERS[args.to](out, args.name, leaves, cfg, archive.metadata)
  except UserError as error:
    raise UserError(f'{source}: {error}') from error
  print(f'{told}, from {layout} to {args.to}')


def _write_ours(out, name, leaves, cfg, metadata) -> str:
  if 'config' not in metadata:
    metadata = {'config': json.dumps({'dit': dataclasses.asdict(cfg)})}
  return _write_shards(out, name, leaves, metadata)


def _write_theirs(layout, out, name, leaves, cfg, metadata) -> str:
  tensors = views.as_theirs(leaves, layout)
  told = _write_shards(out, THEIR_NAME, tensors, {'format': 'pt'})
  with atomic_path(out / 'config.json') as file:
    content = sizes.config_json(cfg, layout)
    file.write_text(json.dumps(content, indent=2) + '\n')
  return told


def _write_checkpoint(out, name, leaves, cfg, metadata) -> str:
  wan = views.as_theirs(leaves, 'wan')
  tensors = {f'model.{key}': tensor for key, tensor in wan.items()}
  path = out / f'{name}.pt'
  with _progress(tensors) as tell:
    write_torch(path, ('generator', 'generator_ema'), tensors, tell)
  return _account(path, tensors)


_WRITERS = {
  'cinejax': _write_ours,
  'diffusers': functools.partial(_write_theirs, 'diffusers'),
  'wan': functools.partial(_write_theirs, 'wan'),
  'self_forcing': _write_checkpoint,
}


def _write_shards(out, name, tensors, metadata) -> str:
  shard_bytes = int(flags.FLAGS.shard_gb * 1e9)
  with _progress(tensors) as tell:
    path = write_shards(
      out, name, tensors, metadata, shard_bytes=shard_bytes, tell=tell
    )
  return _account(path, tensors)


def _account(path: pathlib.Path, tensors: Mapping[str, Tensor]) -> str:
  total = sum(map(tensor_bytes, tensors.values()))
  return f'{path}: {len(tensors)} tensors, {total / 1e9:.3g} GB'


@contextlib.contextmanager
def _progress(
  tensors: Mapping[str, Tensor],
) -> Iterator[Callable[[int], None]]:
  """A bar on a terminal; yields what is told of bytes written."""
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
