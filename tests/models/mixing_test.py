"""A packed pass reads the chunk that it commits as the bank will hold it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.models import mixing

FRAMES, WINDOW, ROUTED, SLOTS, TOKENS, HEADS, FEATURES = 3, 3, 2, 9, 4, 2, 8
GRID = mixing.TokenGrid(frames=FRAMES, rows=2, columns=2, implementation='xla')


@pytest.mark.parametrize('storage', ['compute', 'int8'])
def test_a_pending_chunk_is_read_as_it_will_be_stored(storage):
  mixer = mixing.BankMixer(
    GRID,
    routed=ROUTED,
    by_content=True,
    absolute=False,
    scope='layer',
    route_layer=0,
  )
  shape = (3, 1, 2, FRAMES * TOKENS, HEADS, FEATURES)
  past, packed = jax.random.normal(jax.random.key(0), (2, *shape))

  def frames(x):  # of the first segment, as a bank of one layer takes them
    return x[:, 0].reshape(1, 1, FRAMES, TOKENS, HEADS, FEATURES)

  def view(bank, start, pending=False):
    return router.bank_view(
      bank,
      jnp.array([start]),
      frames=FRAMES,
      window=WINDOW,
      routed=ROUTED,
      policy='camr',
      pending=pending,
    )

  def mix(qkv, bank, view):
    shared = mixing.Routing(view=view, decide=jnp.array(True))
    layer = mixing.LayerMemory(
      index=jnp.array(0),
      memory=jax.tree.map(lambda x: x[0], bank.memory),
      given_BSR=None,
    )
    return mixer(*qkv, shared, layer, router.none_routed(view, ROUTED))[0]

  @jax.jit
  def both(past, packed):
    bank = bank_lib.empty(
      layers=1,
      batch=1,
      frames=SLOTS,
      tokens=TOKENS,
      heads=HEADS,
      features=FEATURES,
      dtype=jnp.float32,
      storage=storage,
    )
    for start in (0, 3, 6):
      slot_BF, start_B = start + jnp.arange(FRAMES)[None], jnp.array([start])
      before, bank = bank, bank_lib.reserve(bank, slot_BF, start_B, start_B)
      if not start:
        bank = bank_lib.write(bank, start_B, *map(frames, past[1:]))
    views = router.join(view(before, 3), view(bank, 6, pending=True))
    done = bank_lib.write(bank, jnp.array([3]), *map(frames, packed[1:]))
    alone = mix(packed[:, :, 1:], done, view(done, 6))
    return mix(packed, bank, views)[:, 1], alone[:, 0]

  np.testing.assert_allclose(*both(past, packed), atol=1e-6)
