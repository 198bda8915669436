"""Plans a run: tells whether a config fits a topology before it is rented.

  python -m cinejax.plan --config=configs/wan_14b.py --stage=base \\
    --topology=v5p:4x4x4 --config.mesh.fsdp=8 --config.mesh.sequence=8

It compiles the same program that training or a rollout runs, for devices that
this machine does not have (`v5p:4x4x4`, `v6e:8x8*2`, `h100:1x8x8`; see
core/topology.py). It prints a line of JSON on standard output, and a table on
standard error: bytes on a device by kind, whether they fit, floating point
operations counted from shapes, communication between devices, and what to
change. No data and no weights are loaded, and nothing is run.

`activations` are the compiler's temporaries: what is stored for the backward
pass, gathered weights, gradients. For a rollout, `codec` is the decoder with
its state, and `text` is UMT5, which stays on the devices; the memory that they
need while they compute is not included. Training is planned as if captions had
been encoded before (data_prep/texts.py); otherwise UMT5 takes 11 GiB on the
first device of each host. A base on config.story.kinds is planned as if films
were latents already: painting and encoding them is not included.
`archive` are bytes of host memory, as training/host_traffic.py defines them.

`flops` are those of the model in one call; `flops_computed` include what is
computed twice to save memory. `kernels` are the operations that one device
starts and the bytes that they read and write (core/hlo.py). From them follows
`secs_estimate`, and from it `mfu_estimate`, without communication:

  secs = flops_computed / (devices .6 peak) + bytes / (.8 bandwidth)        (1)

The shares of a chip's peak were chosen near what one H100 reached in an update
of the 1.3B base and in a chunk of its student; other chips may differ.

With `--quick` the compiler optimises less. On TPUs this takes a quarter of the
time; for Wan, totals came within 4 % of those without it, for small models less
near. Plan without it where it is close. `--topology=cpu:8` means virtual
devices here, for which `flops_device` counts operations in the program of one.
"""

import dataclasses
import json
import re
import sys
import time
from typing import Any

import jax
from absl import flags
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from cinejax import command
from cinejax.config import Config
from cinejax.core import hlo, topology
from cinejax.core.files import append_line, check_file
from cinejax.core.resources import versions
from cinejax.core.sharding import make_mesh
from cinejax.training import host_traffic, planned, remat, stages

# what programs reach of a chip's peak, in eq. (1)
_PRODUCTS, _COPIES = 0.6, 0.8
_SIZES = {'G': 2**30, 'M': 2**20, 'K': 2**10}
_OVER = re.compile(
  r'Used (?P<whole>[\d.]+[GMK]) of'
  r'|(?P<temporaries>[\d.]+[GMK])\)? exceeds'
)


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_enum(
    'stage', None, planned.PROGRAMS, 'Program to compile.', required=True
  )
  flags.DEFINE_string(
    'topology', None, 'Devices, such as v5p:4x4x4 or h100:1x8x8.', required=True
  )
  flags.DEFINE_bool(
    'quick', False, 'Compile faster; bytes are then approximate.'
  )
  flags.DEFINE_string('out', '', 'File to append the line of JSON to.')
  flags.DEFINE_string('key', '', 'Name of the plan, written into the line.')


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.out:
    check_file(args.out)  # before minutes of compilation
  jax.config.update('jax_platforms', 'cpu')  # the plan needs no accelerator
  row = plan(args.stage, cfg, args.topology, quick=args.quick)
  _show(row)
  line = json.dumps(({'key': args.key} if args.key else {}) | row)
  print(line, flush=True)
  if args.out:
    append_line(args.out, line)


def plan(
  stage: str, cfg: Config, name: str, *, quick: bool = False
) -> dict[str, Any]:
  """Compiles the program `stage` for the topology `name`.

  Returns the fields of the printed line (see the module). Raises UserError if
  the mesh does not divide the devices, the model or the batch.
  """
  training = stage != planned.ROLLOUT
  chip, devices = topology.describe(name)
  mesh = make_mesh(cfg.mesh, devices)
  cfg, _ = remat.resolve(stage, cfg, mesh, chip.hbm_bytes)
  program = planned.abstract_program(stage, cfg, mesh)
  held = {
    kind: planned.bytes_of(tree)
    for kind, tree in (program.kinds | program.beside).items()
    if tree
  }
  beside = sum(held.get(kind, 0) for kind in program.beside)
  row = {
    'stage': stage,
    'config': cfg.name,
    'topology': name,
    'devices': len(devices),
    'mesh': dict(mesh.shape),
    'size': [cfg.film.height, cfg.film.width],
    'chunks': cfg.data.chunks if training else None,
    'frames_per_chunk': cfg.film.frames_per_chunk,
    'batch': stages.find(stage).settings(cfg).batch if training else 1,
    'training': cfg.memory.training,
    'remat': cfg.dit.remat,
    'flops': planned.count_flops(stage, cfg, remat='none'),
    'flops_computed': planned.count_flops(stage, cfg, remat=cfg.dit.remat),
    'hbm_bytes': chip.hbm_bytes,
  }
  start = time.perf_counter()
  try:
    compiled = _compile(program, mesh, quick)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    used = held | {'total': _needed(str(error), beside, sum(held.values()))}
    traffic: dict[str, Any] = {}
  else:
    used = _bytes(held, beside, compiled.memory_analysis())
    text = compiled.as_text()
    traffic = {
      kind: dataclasses.asdict(calls)
      for kind, calls in hlo.collectives(text).items()
    }
    kernels = hlo.kernels(text)
    row['kernels'] = dataclasses.asdict(kernels)
    if chip.bandwidth:
      row |= estimates(row, chip, kernels.bytes)
    if chip.name == 'cpu':
      row['flops_device'] = hlo.products(text)
  fits = 'activations' in used and used['total'] <= chip.hbm_bytes
  return row | {
    'bytes': used,
    'archive': {} if training else host_traffic.archive_traffic(cfg),
    'collectives': traffic,
    'compile_secs': round(time.perf_counter() - start, 1),
    'quick': quick,
    'fits': fits,
    'change': [] if fits else changes(stage, cfg, used, mesh, chip.hbm_bytes),
    **versions(),
  }


def estimates(
  row: dict[str, Any], chip: topology.Chip, moved: int
) -> dict[str, float]:
  """Equation (1), if the kernels of a device have `moved` bytes, and MFU."""
  peak = row['devices'] * chip.flops
  secs = row['flops_computed'] / (_PRODUCTS * peak)
  secs += moved / (_COPIES * chip.bandwidth)
  return {'secs_estimate': secs, 'mfu_estimate': row['flops'] / (peak * secs)}


def changes(
  stage: str, cfg: Config, used: dict[str, int], mesh: Mesh, hbm_bytes: int
) -> list[str]:
  """Changes that could make the program fit, the likeliest first.

  `used` are bytes on a device by kind; a device has `hbm_bytes`.
  """
  found = []
  split = mesh.shape['data'] * mesh.shape['fsdp']
  lasting = sum(used.get(kind, 0) for kind in ('params', 'optimizer', 'ema'))
  moving = used['total'] - lasting
  training = stage != planned.ROLLOUT
  if training and cfg.dit.remat != 'full':
    found.append('--config.dit.remat=full')
  if training:
    found += stages.find(stage).savings(cfg)
  if mesh.shape['data'] > 1:
    found.append('--config.mesh.data=1, so that fsdp splits weights further')
  if training:
    settings = stages.find(stage).settings(cfg)
    if settings.batch > split * settings.accumulate:
      parts = settings.batch // split
      found.append(f'--config.stage.{stage}.accumulate={parts}')
    # configs/base.py explains what bfloat16 moments lose
    if settings.moments_dtype == 'float32' and settings.beta2 < 0.99:
      found.append(f'--config.stage.{stage}.moments_dtype=bfloat16')
  ways = mesh.shape['sequence'] * mesh.shape['tensor']
  wider = [
    more
    for more in range(ways + 1, cfg.dit.heads + 1)
    if not (cfg.dit.heads % more or mesh.size % more)
  ]
  if wider and moving > lasting:
    found.append(f'--config.mesh.sequence={wider[0]}')
  if not training and cfg.memory.dtype == 'compute':
    found.append('--config.memory.dtype=int8')
  if training and moving > lasting and cfg.dit.heads % (2 * ways):
    # more chips only take more films; the memory of one film depends on its
    # length
    chunks = int(0.8 * cfg.data.chunks * (hbm_bytes - lasting) / moving)
    shorter = [f'--config.data.chunks={chunks}'] if chunks > 0 else []
    return [*found, *shorter, 'chips with more memory']
  return [*found, 'more chips, or chips with more memory']


def _compile(
  program: planned.AbstractProgram, mesh: Mesh, quick: bool
) -> jax.stages.Compiled:
  options: dict[str, Any] = {}
  if quick:
    options['exec_time_optimization_effort'] = -1.0  # of -1 to 1
  if mesh.devices.flat[0].platform not in ('tpu', 'cpu'):
    # it would choose its kernels by running them on the device
    options['xla_gpu_enable_triton_gemm'] = False
  with jax.set_mesh(mesh):
    return program.fn.lower(*program.args).compile(compiler_options=options)


def _bytes(held: dict[str, int], beside: int, analysis: Any) -> dict[str, int]:
  total = (
    beside
    + analysis.argument_size_in_bytes
    + analysis.output_size_in_bytes
    - analysis.alias_size_in_bytes
    + analysis.temp_size_in_bytes
    + analysis.generated_code_size_in_bytes
  )
  results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
  return held | {
    'results': results,
    'activations': analysis.temp_size_in_bytes,
    'code': analysis.generated_code_size_in_bytes,
    'total': total,
  }


def _needed(error: str, beside: int, held: int) -> int:
  """The bytes that the compiler's error says it needs; 0 if it says nothing.

  The error counts either all but `beside`, or temporaries alone, without the
  arguments, which are `held`.
  """
  match = _OVER.search(error)
  if match is None:
    return 0
  size = match['whole'] or match['temporaries']
  known = beside if match['whole'] else held
  return known + int(float(size[:-1]) * _SIZES[size[-1]])


def _show(row: dict[str, Any]) -> None:
  table = Table(
    title=f'{row["config"]} {row["stage"]} on {row["topology"]}', title_style=''
  )
  table.add_column('on one device')
  table.add_column('GiB', justify='right')
  for kind, count in row['bytes'].items():
    table.add_row(kind, f'{count / 2**30:.2f}')
  table.add_row('its memory', f'{row["hbm_bytes"] / 2**30:.2f}')
  console = Console(file=sys.stderr, highlight=False)
  console.print(table)
  for kind, traffic in row['collectives'].items():
    console.print(
      f'{kind}: {traffic["calls"]} calls, {traffic["bytes"] / 2**30:.2f} GiB'
    )
  console.print(
    f'{row["flops"]:.3g} FLOPs, {row["flops_computed"]:.3g} computed; '
    f'compiled in {row["compile_secs"]} s'
  )
  if kernels := row.get('kernels'):
    console.print(
      f'{kernels["calls"]} kernels move {kernels["bytes"] / 2**30:.2f} GiB'
    )
  if 'mfu_estimate' in row:
    console.print(
      f'about {row["secs_estimate"]:.3g} s, {row["mfu_estimate"]:.1%} MFU'
    )
  if row['archive']:
    console.print(host_traffic.sentence(row['archive']))
  verdict = 'it fits' if row['fits'] else 'it does not fit; try'
  console.print(verdict, *row['change'], sep='\n  ')


if __name__ == '__main__':
  define_flags()
  command.run(main)
