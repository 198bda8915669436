"""Routing over banks made by hand: chosen frames and their positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import policies, router

FRAMES, WINDOW, ROUTED, SLOTS = 2, 4, 3, 16
SHOTS = (0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3)  # of frames 0..11


def _bank(frames=range(12), slots=range(SLOTS)):
  """A bank with frame f, of descriptor f * ones, in slot slots[f]."""
  return _filled(tuple(frames), tuple(slots))


@functools.cache
def _filled(frames, slots):
  bank = bank_lib.empty(
    layers=1,
    batch=1,
    frames=SLOTS,
    tokens=1,
    heads=1,
    features=2,
    dtype=jnp.float32,
  )
  for frame in frames:
    start_B, shot_B = jnp.array([frame]), jnp.array([SHOTS[frame]])
    bank = _add(bank, start_B, jnp.array([[slots[frame]]]), shot_B)
  return bank


@jax.jit
def _add(bank, start_B, slot_BF, shot_B):
  bank = bank_lib.reserve(bank, slot_BF, start_B, shot_B)
  k = jnp.full((1, 1, 1, 1, 1, 2), start_B[0].astype(jnp.float32))
  return bank_lib.write(bank, start_B, k, k)


def _routed(policy, bank=None, q=1.0, start=12, routed=ROUTED):
  bank = _bank() if bank is None else bank
  view = router.bank_view(
    bank,
    jnp.array([start]),
    frames=FRAMES,
    window=WINDOW,
    routed=routed,
    policy=policy,
    noise_BE=jax.random.uniform(jax.random.key(1), (1, SLOTS)),
  )
  rank = router.route(
    view,
    jnp.full((1, 1, 1, 2), q),
    bank.memory.descriptor[0],
    routed=routed,
    by_content=policy == 'camr',
  )
  return view, rank, router.routed_frames(view, rank)[0, 0].tolist()


@pytest.mark.parametrize(
  ('policy', 'frames'),
  [
    ('camr', [5, 6, 7]),  # the largest scores outside the window 8..11
    ('window', [-1, -1, -1]),
    ('sink', [0, -1, -1]),
    ('shot_sink', [0, 4, 6]),  # first frames of the shots that have left
    ('uniform', [2, 5, 7]),
  ],
)
def test_what_each_policy_reads(policy, frames):
  assert _routed(policy)[2] == frames


def test_content_decides_camr():
  assert _routed('camr', q=-1.0)[2] == [0, 1, 2]


def test_rag_reads_the_first_frame_and_those_like_the_latest():
  angle_E = (
    jnp.zeros(SLOTS)
    .at[:12]
    .set(
      jnp.array([2.0, 1.0, 0.6, 0.9, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4])
    )
  )
  length_E = 1 + jnp.arange(SLOTS)  # which a cosine does not see
  d_EK = length_E[:, None] * jnp.stack([jnp.cos(angle_E), jnp.sin(angle_E)], -1)
  d_BEHK = d_EK[None, :, None]

  def view_of(bank, start, window=WINDOW):
    return router.bank_view(
      bank,
      jnp.array([start]),
      frames=FRAMES,
      window=window,
      routed=ROUTED,
      policy='rag',
    )

  def routed(bank, window):
    view = view_of(bank, 12, window)
    last_BSHK = router.latest(view, d_BEHK)
    np.testing.assert_array_equal(last_BSHK[0, 0, 0], d_EK[11])
    query, known = policies.unit(last_BSHK), policies.unit(d_BEHK)
    rank = router.route(view, query, known, routed=ROUTED, by_content=True)
    return router.routed_frames(view, rank)[0, 0].tolist()

  # the 5 frames before the window are left out, though some are most alike
  assert routed(_bank(), 2) == [0, 2, 4]
  assert routed(_bank(), WINDOW) == [0, 1, 2]
  empty = _bank(range(12)).replace(valid_BE=jnp.zeros((1, SLOTS), bool))
  # there is no frame before
  assert not router.latest(view_of(empty, 0), d_BEHK).any()


def test_full_reads_everything_in_the_bank():
  _, _, frames = _routed('full', routed=SLOTS - WINDOW)
  assert [f for f in frames if f >= 0] == list(range(8))


def test_random_is_within_budget_and_outside_the_window():
  _, _, frames = _routed('random')
  assert len(set(frames)) == ROUTED and max(frames) < 8


def test_fewer_candidates_than_budget():
  assert _routed('uniform', _bank(range(6)), start=6)[2] == [0, 1, -1]


def test_slots_do_not_matter():
  order = np.random.default_rng(0).permutation(SLOTS)
  for policy in ('camr', 'shot_sink', 'uniform', 'sink', 'random'):
    plain, mixed = _routed(policy), _routed(policy, _bank(slots=order))
    assert plain[2] == mixed[2]


def test_on_a_tie_the_earlier_frame_wins_whatever_its_slot():
  for slots in (range(SLOTS), reversed(range(SLOTS))):
    assert _routed('camr', _bank(slots=slots), q=0.0)[2] == [0, 1, 2]


def test_a_reserved_slot_is_not_routed():
  bank = _bank()
  bank = bank_lib.reserve(
    bank, jnp.array([[6, 7]]), jnp.array([12]), jnp.array([4])
  )
  assert _routed('camr', bank)[2] == [3, 4, 5]


@pytest.mark.parametrize(
  ('policy', 'frames'),
  [
    ('camr', [-6, -5, -4]),
    ('window', [-1, -1, -1]),
    ('sink', [0, -1, -1]),
    ('shot_sink', [-6, -4, 0]),  # each picture is a shot of its own
    ('uniform', [-5, -3, 1]),
  ],
)
def test_pictures_are_routed_and_never_in_the_window(policy, frames):
  bank = _bank(range(6))
  for number, slot in ((0, 6), (1, 8)):  # in the order of their frames
    start_B = jnp.array([bank_lib.picture_start(number, FRAMES)])
    slot_BF = jnp.array([[slot, slot + 1]])
    bank = bank_lib.reserve(bank, slot_BF, start_B, jnp.array([~number]))
    k = jnp.full((1, 1, FRAMES, 1, 1, 2), -1.0)
    bank = bank_lib.write(bank, start_B, k, k)
  view, _, found = _routed(policy, bank, q=-1.0, start=6)
  assert found == frames
  window = bank.frame_BE[0][view.window_BSV[0, 0]]
  assert window.tolist() == [2, 3, 4, 5]
  alone = bank.replace(valid_BE=bank.valid_BE & (bank.frame_BE < 0))
  view, rank, found = _routed(policy, alone, start=0)
  assert int(view.valid_BS[0, 0]) == 0
  # what is read comes first, though the window is empty
  count = sum(frame != bank_lib.EMPTY for frame in found)
  assert int(router.context_length(view, rank, 0)[0, 0]) == count
  slots = router.valid_first(view, router.context_slots(view, rank))
  assert bank.frame_BE[0][slots[0, 0, :count]].tolist() == found[:count]


def test_positions_are_right_aligned_by_role():
  view, rank, _ = _routed('sink')
  place = router.positions(view, rank, frames=FRAMES, absolute=False)
  own, window, routed = np.split(np.asarray(place[0, 0]), [2, 6])
  assert own.tolist() == [7, 8]  # R + V ...
  assert window.tolist() == [3, 4, 5, 6]
  assert routed[0] == 2  # the one routed frame is next to the window
  assert int(router.context_length(view, rank, FRAMES)[0, 0]) == 2 + 4 + 1


def test_positions_equal_absolute_ones_while_everything_fits():
  bank = _bank(range(6))
  for policy, absolute in (('camr', False), ('full', True)):
    view, rank, frames = _routed(policy, bank, start=6)
    place = router.positions(view, rank, frames=FRAMES, absolute=absolute)
    place = np.asarray(place[0, 0]) - int(place[0, 0, 0])
    assert place[:6].tolist() == [0, 1, -4, -3, -2, -1]
    assert [p for p, f in zip(place[6:], frames, strict=True) if f >= 0] == [
      -6,
      -5,
    ]


def test_an_empty_bank_gives_nothing():
  view, rank, frames = _routed('camr', _bank(()), start=0)
  assert frames == [-1] * ROUTED
  assert int(view.valid_BS[0, 0]) == 0
  assert int(router.context_length(view, rank, FRAMES)[0, 0]) == FRAMES


def test_a_pending_chunk_counts_as_seen():
  bank = _bank(range(10))
  bank = bank_lib.reserve(
    bank, jnp.array([[10, 11]]), jnp.array([10]), jnp.array([3])
  )
  view = router.bank_view(
    bank,
    jnp.array([12]),
    frames=FRAMES,
    window=WINDOW,
    routed=ROUTED,
    policy='camr',
    pending=True,
  )
  frames = bank.frame_BE[0][view.window_BSV[0, 0]]
  assert frames.tolist() == [8, 9, 10, 11]


def test_a_film_s_views_are_those_of_its_bank():
  shots = jnp.array(SHOTS)[None, ::FRAMES]
  for policy in ('camr', 'window', 'sink', 'shot_sink', 'uniform', 'full'):
    film = router.film_view(
      shots, frames=FRAMES, window=WINDOW, routed=ROUTED, policy=policy
    )
    d = jnp.broadcast_to(jnp.arange(12.0)[None, :, None, None], (1, 12, 1, 2))
    rank = router.route(
      film,
      jnp.ones((1, 6, 1, 2)),
      d,
      routed=ROUTED,
      by_content=policy == 'camr',
    )
    whole = router.routed_frames(film, rank)[0]
    for chunk in range(6):
      start = chunk * FRAMES
      _, _, frames = _routed(policy, _bank(range(start)), start=start)
      assert whole[chunk].tolist() == frames
