"""What a plan says about an archive in host memory."""

import math

import jax

from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh
from cinejax.training import host_traffic, planned
from tests.plans import make_config


def test_the_bytes_of_an_archive():
  cfg = make_config(
    memory__archive='host', memory__archive_frames=99, rollout__guidance=3.0
  )
  rows, columns, _ = cfg.frame_shape
  tokens = rows * columns // math.prod(cfg.dit.patch)
  # keys and values, in float32, of both branches
  frame = 2 * 2 * cfg.dit.layers * tokens * cfg.dit.features * 4
  passes = cfg.rollout.steps + 1
  traffic = host_traffic.archive_traffic(cfg)
  assert traffic == {
    'frames': 99,
    'host': 100 * frame,
    'out': 3 * frame,
    'in_max': passes * cfg.memory.routed_frames * frame,
  }
  assert host_traffic.archive_traffic(make_config()) == {}
  gib = dict.fromkeys(traffic, 2**31)
  assert host_traffic.sentence(gib).count('2.00 GiB') == 3
  mesh = make_mesh(MeshConfig(1, 1, 1, 1), jax.devices()[:1])
  program = planned.abstract_program('rollout', cfg, mesh)
  held = planned.bytes_of(program.beside['descriptors'])
  assert held == 99 * frame // tokens // 2
