"""A film is the same streamed, scanned, or generated in any batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.models import gathering
from cinejax.models.arrangement import arranged
from cinejax.rollout.scan import make_scan
from cinejax.rollout.stream import stream


@pytest.fixture(scope='module')
def one(studio):
  return studio(rollout__guidance=1.0)


@pytest.fixture(scope='module')
def scan_fn(one):
  return make_scan(one.step)


@pytest.fixture(scope='module')
def whole(one, scan_fn):
  return scan_fn(one.params, one.begin(), one.chunks())[1]


def _inputs(chunks):
  for i in range(chunks.cut_B.shape[0]):
    yield jax.tree.map(lambda x, i=i: x[i], chunks)


def test_stream_equals_scan(one, scan_fn, whole):
  outputs = [
    output
    for _, output in stream(
      scan_fn, one.params, one.begin(), _inputs(one.chunks())
    )
  ]
  for i, output in enumerate(outputs):
    np.testing.assert_array_equal(output.frame_JLBR, whole.frame_JLBR[i])
    np.testing.assert_allclose(
      output.latents_BFYXC, whole.latents_BFYXC[i], atol=1e-5
    )


def test_a_seed_gives_the_same_bits(one, scan_fn, whole):
  again = scan_fn(one.params, one.begin(), one.chunks())[1]
  np.testing.assert_array_equal(again.latents_BFYXC, whole.latents_BFYXC)
  other = scan_fn(one.params, one.begin((7, 8)), one.chunks())[1]
  assert jnp.abs(other.latents_BFYXC - whole.latents_BFYXC).max() > 0.1


def test_a_film_does_not_depend_on_its_company(one, scan_fn, whole):
  swapped = jax.tree.map(lambda x: x[:, ::-1], one.chunks())
  mirrored = scan_fn(one.params, one.begin((6, 5)), swapped)[1]
  np.testing.assert_allclose(
    mirrored.latents_BFYXC[:, ::-1], whole.latents_BFYXC, atol=1e-5
  )


def test_a_prompt_acts_from_its_chunk_on_and_not_before(one, scan_fn, whole):
  chunks = one.chunks()
  text = chunks.text_BWD.at[4:].add(1.0)
  changed = scan_fn(one.params, one.begin(), chunks.replace(text_BWD=text))[1]
  difference = np.abs(changed.latents_BFYXC - whole.latents_BFYXC)
  assert difference[:4].max() == 0 and difference[4].max() > 1e-3


@pytest.mark.parametrize(
  'platform', [pytest.param('gpu', marks=pytest.mark.slow), 'tpu']
)
def test_parameters_that_are_arranged_make_the_same_film(
  one, scan_fn, whole, monkeypatch, platform
):
  """Layers have leaves of their own and share a window; TPUs rotate halves."""
  monkeypatch.setattr(gathering, 'platform', lambda: platform)
  dit = dataclasses.replace(one.cfg.dit, unroll='rollout')
  params = arranged(dit, one.params, platform)
  assert len(params['blocks']) == dit.layers
  outputs = scan_fn(params, one.begin(), one.chunks())[1]
  np.testing.assert_array_equal(outputs.frame_JLBR, whole.frame_JLBR)
  np.testing.assert_allclose(
    outputs.latents_BFYXC, whole.latents_BFYXC, atol=1e-5
  )


@pytest.mark.slow
def test_a_film_in_eight_bits_is_near(one, scan_fn, whole):
  dit = dataclasses.replace(one.cfg.dit, precision='fp8')
  params = arranged(dit, one.params, 'gpu')
  first = scan_fn(params, one.begin(), one.chunks())[1].latents_BFYXC[0]
  error = first - whole.latents_BFYXC[0]
  assert 0.001 < np.std(error) / np.std(whole.latents_BFYXC[0]) < 0.2


def test_one_executable_and_no_old_state(one):
  scan_fn, traces = make_scan(one.step), []
  state = one.begin()
  for output in stream(scan_fn, one.params, state, _inputs(one.chunks())):
    traces.append(scan_fn._cache_size())
    after = output[0]
  assert set(traces) == {1}
  assert state.bank.memory.key.data.is_deleted()
  assert after.bank.memory.key.data.shape == state.bank.memory.key.data.shape


def test_no_layer_reads_more_than_its_budget(one, whole):
  frames = np.asarray(whole.frame_JLBR)
  assert frames.shape[-1] == one.cfg.memory.routed_frames
  start = np.arange(len(frames)) * 3 - one.cfg.memory.window_frames
  outside = frames < np.maximum(start, 0)[:, None, None, None, None]
  assert outside.all()
