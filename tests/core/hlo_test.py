import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from cinejax.core import hlo
from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh

# as the TPU's compiler writes it: a start and its end are one call
ASYNC = """\
HloModule jit_f, entry_computation_layout={()->f32[]}

%body (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %ag = (bf16[2,4]{1,0}, bf16[8,4]{1,0}) all-gather-start(%p), dimensions={0}
  ROOT %done = bf16[8,4]{1,0} all-gather-done(%ag)
}

ENTRY %main.3_spmd (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  ROOT %w = f32[8,4]{1,0} while(%a), condition=%c, body=%body, \
backend_config={"known_trip_count":{"n":"30"}}
}
"""


def test_a_start_and_its_end_are_one_call_and_loops_count():
  found = hlo.collectives(ASYNC)
  assert found == {'all-gather': hlo.Traffic(calls=30, bytes=30 * 8 * 4 * 2)}


def test_a_loop_whose_length_only_its_condition_tells():
  condition = """
%c (q: (s32[], f32[8,4])) -> pred[] {
  %n = s32[]{:T(128)} constant(5)
  %q = (s32[]{:T(128)}, f32[8,4]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%q), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %n), direction=LT
}

ENTRY"""
  text = ASYNC.replace('known_trip_count', 'flag').replace('\nENTRY', condition)
  assert hlo.collectives(text)['all-gather'].calls == 5
  assert hlo.collectives(text.replace('LT', 'GT'))['all-gather'].calls == 1


def test_a_real_program():
  mesh = make_mesh(MeshConfig(1, -1, 1, 1))

  @jax.jit
  @jax.shard_map(in_specs=P('fsdp'), out_specs=P('fsdp'))
  def f(x):
    def body(x, _):
      return x + jax.lax.psum(jnp.sin(x), 'fsdp'), None

    x, _ = jax.lax.scan(body, x, length=5)
    return jax.lax.all_to_all(x, 'fsdp', 1, 1, tiled=True)

  with jax.set_mesh(mesh):
    x = jax.ShapeDtypeStruct((8, 16), jnp.float32)
    found = hlo.collectives(f.lower(x).compile().as_text())
  assert found['all-reduce'] == hlo.Traffic(calls=5, bytes=5 * 16 * 4)
  assert found['all-to-all'].calls == 1


def test_products_of_one_device_count_as_often_as_they_run():
  mesh = make_mesh(MeshConfig(1, -1, 1, 1))

  def f(w, x):
    x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)
    return jnp.einsum('bi,bj->ij', x, x)

  w, x = (
    jax.ShapeDtypeStruct(
      shape, jnp.float32, sharding=NamedSharding(mesh, P(*axes))
    )
    for shape, axes in (((5, 64, 64), ()), ((16, 64), ('fsdp',)))
  )
  text = jax.jit(f).lower(w, x).compile().as_text()
  # two of sixteen rows a device
  assert hlo.products(text) == 5 * 2 * 2 * 64 * 64 + 2 * 2 * 64 * 64
