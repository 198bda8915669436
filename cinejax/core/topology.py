"""Descriptions of TPU pods and GPU hosts, to compile for without devices.

  v5p:4x4x4     64 chips as a slice; also v4, v5e, v6e, tpu7x
  v6e:8x8*2     two such slices
  h100:1x8x8    slices x hosts x GPUs of a host; also h200
  cpu:8         virtual devices of this machine, which share its memory

XLA compiles for them (jax.experimental.topologies) with libtpu for TPUs and the
CUDA plugin for GPUs.
"""

import contextlib
import dataclasses
import importlib.util
import os
import re
from typing import Any

import jax
from jax.experimental import topologies

from cinejax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
  """One device, as JAX counts them."""

  name: str  # as in a topology
  kinds: tuple[str, ...]  # prefixes of jax.Device.device_kind
  hbm_bytes: int  # memory that a program may use
  flops: float  # peak bfloat16 operations per second, dense
  bandwidth: float = 0.0  # bytes per second from and to that memory


_GIB = 2**30
# For TPUs, the memory that the compiler leaves to a program, of 16, 32 or 96
# GiB. For GPUs, nine tenths of the memory, because the compiler counts neither
# communication buffers nor fragmentation. A device is both cores of a v4 chip,
# and half of a tpu7x chip. (cloud.google.com/tpu/docs, nvidia.com data sheets)
CHIPS = (
  Chip('v4', ('TPU v4',), int(31.0 * _GIB), 275e12, 1.228e12),
  Chip('v5e', ('TPU v5 lite', 'TPU v5e'), int(15.75 * _GIB), 197e12, 0.819e12),
  Chip('v5p', ('TPU v5',), int(95.0 * _GIB), 459e12, 2.765e12),
  Chip('v6e', ('TPU v6 lite', 'TPU v6e'), int(31.25 * _GIB), 918e12, 1.64e12),
  Chip('tpu7x', ('TPU7x',), int(94.75 * _GIB), 1153.5e12, 3.69e12),
  Chip('h100', ('NVIDIA H100',), int(0.9 * 84_942_979_072), 989e12, 3.35232e12),
  Chip('h200', ('NVIDIA H200',), int(0.9 * 150_000_000_000), 989e12, 4.8e12),
)
_GPU_CONFIG = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {memory}
  shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 13 minor: 0 patch: 0 }}
device_description_str: "{kind}"
"""
_GPUS = {'h100': 84_942_979_072, 'h200': 150_000_000_000}  # bytes of memory


def chip_of(kind: str) -> Chip | None:
  """The chip of a jax.Device.device_kind; None if it is not in CHIPS."""
  fitting = [
    (len(prefix), chip)
    for chip in CHIPS
    for prefix in chip.kinds
    if kind.startswith(prefix)
  ]
  return max(fitting, key=lambda found: found[0], default=(0, None))[1]


def describe(name: str) -> tuple[Chip, list[Any]]:
  """The chip and the devices of a topology such as `v5p:4x4x4`.

  Raises UserError if there is no such topology, or if its compiler is not
  installed.
  """
  if virtual := re.fullmatch(r'cpu:([1-9]\d*)', name):
    return _virtual(int(virtual[1]))
  match = re.fullmatch(r'(\w+):(\d+(?:x\d+)*)(?:\*(\d+))?', name)
  chip = next((c for c in CHIPS if match and c.name == match[1]), None)
  if match is None or chip is None:
    known = ', '.join(chip.name for chip in CHIPS)
    raise UserError(
      f'--topology={name} must be CHIP:SHAPE, such as v5p:4x4x4, v6e:8x8*2 or '
      f'h100:1x8x8, with one of the chips {known}, or cpu:N'
    )
  make = _gpus if chip.name in _GPUS else _tpus
  try:
    return chip, make(chip, match[2], int(match[3] or 1))
  except (ValueError, RuntimeError) as error:
    first = str(error).splitlines()[0]
    raise UserError(
      f'--topology={name} is not a shape that the compiler knows ({first}); '
      'choose one that can be rented'
    ) from error


def _virtual(count: int) -> tuple[Chip, list[Any]]:
  """Raises UserError if JAX has already started with fewer devices."""
  with contextlib.suppress(RuntimeError):  # JAX has already started
    asked = jax.config.jax_num_cpu_devices
    jax.config.update('jax_num_cpu_devices', max(count, asked))
  devices = jax.devices('cpu')
  if len(devices) < count:
    raise UserError(
      f'--topology=cpu:{count}: this process has {len(devices)} CPU devices; '
      'unset XLA_FLAGS and JAX_NUM_CPU_DEVICES'
    )
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  return Chip('cpu', ('cpu',), memory // count, 0.0), devices[:count]


def _tpus(chip: Chip, shape: str, slices: int) -> list[Any]:
  if not (
    os.environ.get('TPU_LIBRARY_PATH') or importlib.util.find_spec('libtpu')
  ):
    raise UserError(
      "the TPU compiler is not installed; pip install 'cinejax[plan-tpu]'"
    )
  # Without these, libtpu looks for a TPU in this machine and locks it.
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
  os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')
  os.environ.setdefault('TPU_ACCELERATOR_TYPE', f'{chip.name}-1')
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
  options: dict[str, Any] = {'num_slices': slices} if slices > 1 else {}
  if chip.name == 'v4':
    options['chip_config_name'] = 'megacore'  # two cores per device, as in pods
  if all(side == '1' for side in shape.split('x')):
    shape = '1x1x1'
    options['chips_per_host_bounds'] = (1, 1, 1)
  described = topologies.get_topology_desc(
    f'{chip.name}:{shape}', platform='tpu', **options
  )
  return list(described.devices)


def _gpus(chip: Chip, shape: str, slices: int) -> list[Any]:
  if not any(
    importlib.util.find_spec(f'jax_cuda{version}_plugin')
    for version in (12, 13)
  ):
    raise UserError(
      "the GPU compiler is not installed; pip install 'cinejax[plan-gpu]'"
    )
  jax.devices()  # makes JAX load its plugins
  if slices > 1 or len(shape.split('x')) != 3:
    raise ValueError('the shape of GPUs is SLICESxHOSTSxGPUS_OF_A_HOST')
  described = topologies.get_topology_desc(
    platform='cuda',
    topology_name=chip.name,
    topology=shape,
    target_config=_GPU_CONFIG.format(
      memory=_GPUS[chip.name],
      bandwidth=int(chip.bandwidth),
      kind=chip.kinds[0],
    ),
  )
  return list(described.devices)
