"""Says before a pod is rented whether a config fits it.

  python -m cinejax.plan --config=configs/wan_14b.py --stage=base \\
    --topology=v5p:4x4x4 --config.mesh.fsdp=8 --config.mesh.sequence=8

Compiles the product's own step for devices that are not here (`v5p:4x4x4`,
`v6e:8x8*2`, `h100:1x8x8`; core/topology.py), and prints one line of JSON on
standard output and a table on standard error: bytes a device by kind, whether
they fit, floating point operations counted from shapes, what devices say to
one another, and what to change. Nothing is loaded and nothing is run.

`activations` are the compiler's temporaries: what is kept for the backward
pass, gathered weights, gradients. Beside a rollout, `codec` is what decodes its
frames and what it remembers of the last ones, and `text` is UMT5, which stays;
what these need while they compute is not in it. Training is planned as if
captions were encoded ahead (data_prep/texts.py): else UMT5 takes 11 GiB of each
host's first device.

`flops` are those of the model in one call, `flops_computed` with what is
computed twice to save memory. `--quick` lets the compiler optimise less: on
TPUs a quarter of the minutes; Wan's totals came within 4 % of the whole
compiler's, those of toys less near. Where it is close, plan without it.
`--topology=cpu:8` are virtual devices of this machine: of them there are
`flops_device` too, what one device multiplies in the compiled program.
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
from cinejax.training import planned
from cinejax.training.distillation import real_dit

_SIZES = {'G': 2**30, 'M': 2**20, 'K': 2**10}
_OVER = re.compile(
  r'Used (?P<whole>[\d.]+[GMK]) of'
  r'|(?P<temporaries>[\d.]+[GMK])\)? exceeds'
)


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_enum(
    'stage', None, planned.PROGRAMS, 'What is compiled.', required=True
  )
  flags.DEFINE_string(
    'topology', None, 'Such as v5p:4x4x4 or h100:1x8x8.', required=True
  )
  flags.DEFINE_bool('quick', False, 'Optimise less: sooner, nearly the same.')
  flags.DEFINE_string('out', '', 'File to add the line of JSON to.')
  flags.DEFINE_string('key', '', 'Named in the line, to find it by.')


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.out:
    check_file(args.out)  # now, not after minutes
  jax.config.update('jax_platforms', 'cpu')  # of this machine
  row = plan(args.stage, cfg, args.topology, quick=args.quick)
  _show(row)
  line = json.dumps(({'key': args.key} if args.key else {}) | row)
  print(line, flush=True)
  if args.out:
    append_line(args.out, line)


def plan(
  stage: str, cfg: Config, name: str, *, quick: bool = False
) -> dict[str, Any]:
  """What is printed, of the program `stage` on the topology `name`."""
  chip, devices = topology.describe(name)
  mesh = make_mesh(cfg.mesh, devices)
  program = planned.make_planned(stage, cfg, mesh)
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
    'chunks': cfg.data.chunks if stage != 'rollout' else None,
    'frames_per_chunk': cfg.film.frames_per_chunk,
    'batch': getattr(cfg.stage, stage).batch if stage != 'rollout' else 1,
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
    said: dict[str, Any] = {}
  else:
    used = _bytes(held, beside, compiled.memory_analysis())
    text = compiled.as_text()
    said = {
      kind: dataclasses.asdict(traffic)
      for kind, traffic in hlo.collectives(text).items()
    }
    if chip.name == 'cpu':
      row['flops_device'] = hlo.products(text)
  secs = time.perf_counter() - start
  fits = 'activations' in used and used['total'] <= chip.hbm_bytes
  return row | {
    'bytes': used,
    'collectives': said,
    'compile_secs': round(secs, 1),
    'quick': quick,
    'fits': fits,
    'change': [] if fits else changes(stage, cfg, used, mesh, chip.hbm_bytes),
    **versions(),
  }


def changes(
  stage: str, cfg: Config, used: dict[str, int], mesh: Mesh, hbm_bytes: int
) -> list[str]:
  """What would make it fit, the likeliest first."""
  found = []
  split = mesh.shape['data'] * mesh.shape['fsdp']
  lasting = sum(used.get(kind, 0) for kind in ('params', 'optimizer', 'ema'))
  moving = used['total'] - lasting
  training = stage != 'rollout'
  if training and cfg.dit.remat != 'full':
    found.append('--config.dit.remat=full')
  if stage in ('dmd', 'tune') and real_dit(cfg) != cfg.dit:
    found.append(
      '--config.dmd.real_layers=0 --config.dmd.real_heads=0 '
      "--config.dmd.real_mlp_features=0: a real score of the student's size"
    )
  if mesh.shape['data'] > 1:
    found.append('--config.mesh.data=1, so that fsdp splits weights further')
  if training:
    settings = getattr(cfg.stage, stage)
    if settings.batch > split * settings.accumulate:
      parts = settings.batch // split
      found.append(f'--config.stage.{stage}.accumulate={parts}')
    # what bfloat16 moments forget is said in configs/base.py
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
    # more chips would take more films; what a film needs goes by its length
    chunks = int(0.8 * cfg.data.chunks * (hbm_bytes - lasting) / moving)
    shorter = [f'--config.data.chunks={chunks}'] if chunks > 0 else []
    return [*found, *shorter, 'chips with more memory']
  return [*found, 'more chips, or chips with more memory']


def _compile(
  program: planned.Planned, mesh: Mesh, quick: bool
) -> jax.stages.Compiled:
  options: dict[str, Any] = {}
  if quick:
    options['exec_time_optimization_effort'] = -1.0  # of -1 to 1
  if mesh.devices.flat[0].platform not in ('tpu', 'cpu'):
    # it tries its kernels on the device to choose one, and there is none
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
  made = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
  return held | {
    'results': made,
    'activations': analysis.temp_size_in_bytes,
    'code': analysis.generated_code_size_in_bytes,
    'total': total,
  }


def _needed(error: str, beside: int, held: int) -> int:
  """What the compiler says that it would need; 0 if it does not say.

  It counts what is not `beside`, or its temporaries without what is `held`.
  """
  match = _OVER.search(error)
  if match is None:
    return 0
  said = match['whole'] or match['temporaries']
  known = beside if match['whole'] else held
  return known + int(float(said[:-1]) * _SIZES[said[-1]])


def _show(row: dict[str, Any]) -> None:
  table = Table(
    title=f'{row["config"]} {row["stage"]} on {row["topology"]}', title_style=''
  )
  table.add_column('of one device')
  table.add_column('GiB', justify='right')
  for kind, count in row['bytes'].items():
    table.add_row(kind, f'{count / 2**30:.2f}')
  table.add_row('it has', f'{row["hbm_bytes"] / 2**30:.2f}')
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
  console.print('it fits' if row['fits'] else 'it does not fit; try')
  for change in row['change']:
    console.print(f'  {change}')


if __name__ == '__main__':
  define_flags()
  command.run(main)
