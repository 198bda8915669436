import jax
import jax.numpy as jnp
import pytest
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
  %part = bf16[2,4]{1,0} fusion(%p), kind=kLoop, calls=%f
  %ag = (bf16[2,4]{1,0}, bf16[8,4]{1,0}) all-gather-start(%part), dimensions={0}
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


def test_a_loop_whose_length_is_in_its_condition():
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


# 16 rows of 4 go in, 2 of 4 come out: (lines of the program, other blocks)
SUM = """
%sum (l: f32[], r: f32[]) -> f32[] {
  ROOT %add = f32[] add(%l, %r)
}
"""
SCATTERED = {
  'at once': (
    'ROOT %s = f32[2,4]{1,0} reduce-scatter(%a), dimensions={0}, to_apply=%sum',
    SUM,
  ),
  'begun and ended': (
    '%s = ((f32[16,4]{1,0}), f32[2,4]{1,0}) reduce-scatter-start(%a), '
    'dimensions={0}, to_apply=%sum\n'
    '  ROOT %e = f32[2,4]{1,0} reduce-scatter-done(%s)',
    SUM,
  ),
  'wrapped': (
    '%s = ((f32[16,4]{1,0}), f32[2,4]{1,0}, u32[]) async-start(%a), '
    'calls=%wrapped\n'
    '  ROOT %e = f32[2,4]{1,0} async-done(%s), calls=%wrapped',
    SUM
    + """
%wrapped (b: f32[16,4]) -> f32[2,4] {
  %b = f32[16,4]{1,0} parameter(0)
  ROOT %s.1 = f32[2,4]{1,0} reduce-scatter(%b), dimensions={0}, to_apply=%sum
}
""",
  ),
  'on a TPU': (
    'ROOT %s = f32[2,4]{1,0:T(8,128)} fusion(%a), kind=kCustom, '
    'calls=%all-reduce-scatter.1.clone',
    SUM
    + """
%all-reduce-scatter.1.clone (b: f32[16,4]) -> f32[2,4] {
  %b = f32[16,4]{1,0:T(8,128)} parameter(0)
  %all = f32[16,4]{1,0:T(8,128)} all-reduce(%b), to_apply=%sum
  %i = u32[] partition-id()
  ROOT %mine = f32[2,4]{1,0} dynamic-slice(%all, %i), \
dynamic_slice_sizes={2,4}
}
""",
  ),
}


def program(lines, others=''):
  return f"""HloModule jit_f, entry_computation_layout={{()->f32[]}}
{others}
ENTRY %main (a: f32[16,4]) -> f32[2,4] {{
  %a = f32[16,4]{{1,0}} parameter(0)
  %z = bf16[4]{{0}} constant({{...}})
  {lines}
}}
"""


@pytest.mark.parametrize('way', SCATTERED)
def test_a_reduce_scatter_counts_its_operands(way):
  found = hlo.collectives(program(*SCATTERED[way]))
  assert found == {'reduce-scatter': hlo.Traffic(calls=1, bytes=16 * 4 * 4)}


@pytest.mark.parametrize(
  ('lines', 'kind', 'bytes'),
  [
    (  # larger than all that goes in
      '%s = (f32[128,4]{1,0}, bf16[32]{0}) all-gather(%a, /*index=1*/%z), '
      'dimensions={0}',
      'all-gather',
      128 * 4 * 4 + 32 * 2,
    ),
    (
      '%s = ((f32[16,4]{1,0}, bf16[4]{0}), (f32[128,4]{1,0}, bf16[32]{0})) '
      'all-gather-start(%a, %z), dimensions={0}\n'
      '  %e = (f32[128,4]{1,0}, bf16[32]{0}) all-gather-done(%s)',
      'all-gather',
      128 * 4 * 4 + 32 * 2,
    ),
    (
      '%s = (f32[16,4]{1,0}, bf16[4]{0}) all-reduce(%a, %z), to_apply=%sum',
      'all-reduce',
      16 * 4 * 4 + 4 * 2,
    ),
    (
      '%s = f32[16,4]{1,0} all-reduce-start(%a), to_apply=%sum\n'
      '  %e = f32[16,4]{1,0} all-reduce-done(%s)',
      'all-reduce',
      16 * 4 * 4,
    ),
    (  # with what the device keeps of it meanwhile
      '%s = (f32[16,4]{1,0}, f32[16,4]{1,0}, u32[]{:S(2)}, u32[]{:S(2)}) '
      'collective-permute-start(%a), source_target_pairs={{0,1}}\n'
      '  %e = f32[16,4]{1,0} collective-permute-done(%s)',
      'collective-permute',
      16 * 4 * 4,
    ),
  ],
)
def test_all_arrays_of_a_call_count_once(lines, kind, bytes):
  found = hlo.collectives(program(lines, SUM))
  assert found == {kind: hlo.Traffic(calls=1, bytes=bytes)}


def test_an_overlapped_collective_on_a_tpu_is_one_call():
  def block(name, rest):
    gather = '%g = f32[128,4]{1,0} all-gather(%b), channel_id=7, dimensions={0}'
    return f"""
%{name} (b: f32[16,4]) -> f32[128,4] {{
  %b = f32[16,4]{{1,0}} parameter(0)
  {gather}
  ROOT %r = f32[128,4]{{1,0}} {rest}
}}
"""

  others = (
    block('f.1', 'custom-call(%g), custom_call_target="AsyncCollectiveStart"')
    + block('async_collective_fusion.3', 'multiply(%g, %g)')
    + block('f.2', 'custom-call(%g), custom_call_target="AsyncCollectiveDone"')
  )
  lines = '\n  '.join(
    f'%s.{i} = f32[128,4]{{1,0}} fusion(%a), kind=kCustom, calls=%{name}'
    for i, name in enumerate(('f.1', 'async_collective_fusion.3', 'f.2'))
  )
  found = hlo.collectives(program(lines, others))
  assert found == {'all-gather': hlo.Traffic(calls=1, bytes=128 * 4 * 4)}


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


KERNELS = """\
HloModule jit_f, entry_computation_layout={()->f32[]}

%pick (p: f32[64,1000], i: s32[]) -> bf16[1000] {
  %p = f32[64,1000]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %half = f32[32,1000]{1,0} slice(%p), slice={[0:32], [0:1000]}
  %row = f32[1,1000]{1,0} dynamic-slice(%half, %i), dynamic_slice_sizes={1,1000}
  ROOT %c = bf16[1000]{0} convert(%row)
}

%put (p: f32[64,1000], x: f32[2,1000], i: s32[]) -> f32[64,1000] {
  %p = f32[64,1000]{1,0} parameter(0)
  %x = f32[2,1000]{1,0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %u = f32[64,1000]{1,0} dynamic-update-slice(%p, %x, %i)
}

%body (a: f32[64,1000]) -> f32[64,1000] {
  %a = f32[64,1000]{1,0} parameter(0)
  ROOT %k = f32[64,1000]{1,0} KERNEL
}

ENTRY %main (a: f32[64,1000]) -> f32[64,1000] {
  %a = f32[64,1000]{1,0} parameter(0)
  ROOT %w = f32[64,1000]{1,0} while(%a), condition=%c, body=%body, \
backend_config={"known_trip_count":{"n":"30"}}
}
"""


@pytest.mark.parametrize(
  ('kernel', 'moved'),
  [
    ('bf16[1000]{0} fusion(%a, %j), calls=%pick', 4 * 1000 + 2 * 1000),
    ('f32[64,1000]{1,0} fusion(%a, %y, %j), calls=%put', 4 * (2000 + 2000)),
    ('f32[64,1000]{1,0} negate(%a)', 4 * 2 * 64_000),
    ('(f32[64,1000]{1,0}, s8[4096]{0}) custom-call(%a)', 4 * 2 * 64_000),
    ('f32[64,1000]{1,0:T(8,128)S(1)} copy(%a)', 4 * 64_000),
    ('f32[64000]{0} bitcast(%a)', None),
  ],
  ids=['slices', 'update', 'operation', 'workspace', 'on chip', 'no kernel'],
)
def test_kernels_read_and_write_what_they_need(kernel, moved):
  text = KERNELS.replace(
    'ROOT %k = f32[64,1000]{1,0} KERNEL',
    '%j = s32[] constant(3)\n'
    '  %y = f32[2,1000]{1,0} constant({...})\n'
    f'  ROOT %k = {kernel}',
  )
  found = hlo.kernels(text)
  if moved is None:
    assert found == hlo.Traffic()
  else:
    scalar = 4 * ('%j' in kernel)
    assert found == hlo.Traffic(calls=30, bytes=30 * (moved + scalar))


def test_kernels_of_a_compiled_loop():
  def steps(x):
    return jax.lax.fori_loop(0, 5, lambda _, x: jnp.sin(x @ x), x)

  text = jax.jit(steps).lower(jnp.ones((64, 64))).compile().as_text()
  found = hlo.kernels(text)
  assert found.calls >= 10  # a product and a sine, five times
  assert 10 * 2 * 64 * 64 * 4 <= found.bytes < 40 * 64 * 64 * 4
