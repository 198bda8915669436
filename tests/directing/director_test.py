"""Networks are where films are made, and pixels are split as latents are."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.bench import make_director
from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.core.sharding import BATCH_AXES, ROW_AXES, constrain
from cinejax.directing.film_codec import FilmCodec
from cinejax.directing.loading import load_director
from cinejax.directing.rollout_programs import RolloutPrograms
from cinejax.film import screenplay
from cinejax.film.journal import Film, Segment
from cinejax.interop.tensors import save_tree
from cinejax.models import camera, denoiser
from cinejax.models.codec.base import from_bytes
from cinejax.models.codec.select import make_codec
from configs import tiny, wan_1_3b

MESHES = {'one': (1, 1), 'eight': (4, 2)}  # along sequence and tensor
WAN = {
  'dit.layers': 1,
  'dit.heads': 8,
  'dit.head_features': 12,
  'dit.mlp_features': 32,
  'dit.time_features': 32,
  'text.words': 4,
  'text.features': 32,
  'codec.width': 8,
  'codec.blocks': 1,
  'codec.compute_dtype': 'float32',
  'film.height': 64,
  'film.width': 32,
  'memory.bank_frames': 17,
}


def make_config(config, devices, **changes):
  config.mesh.sequence, config.mesh.tensor = MESHES[devices]
  config.update_from_flattened_dict(changes)
  return resolve(config)


@dataclasses.dataclass
class Rows:
  """A codec whose pictures are its latents, shifted, and split by rows."""

  def init_decode(self, params, z_shape_BYXC):
    return jnp.zeros(z_shape_BYXC)

  def decode_chunk(self, params, z_BFYXC, state, first):
    return self._moved(z_BFYXC, params['mean_C']), state

  def encode(self, params, video_BTYXC):
    return self._moved(video_BTYXC, -params['mean_C'])

  def _moved(self, x_BFYXC, by_C):
    moved_BFYXC = x_BFYXC + by_C[None, None, None, None]
    return constrain(moved_BFYXC, BATCH_AXES, None, ROW_AXES)


def rows_of_a_shard(x):
  return x.sharding.shard_shape(x.shape)[2]


def test_a_codec_runs_on_the_director_s_mesh():
  params = {'mean_C': np.full(3, 0.5, np.float32)}
  rng, pictures = np.random.default_rng(0), {}
  z_BFYXC = rng.uniform(-1, 0, (1, 3, 16, 8, 3)).astype(np.float32)
  for devices, rows in (('one', 16), ('eight', 2)):
    cfg = make_config(tiny.get_config(), devices, **{'dit.heads': 8})
    director = FilmCodec(cfg, Rows(), params)
    state = jnp.zeros((1, 16, 8, 3))
    video_BTYXC, _ = director.decode_fn(params, z_BFYXC, state, first=True)
    assert rows_of_a_shard(video_BTYXC) == rows
    again_BTYXC = director.encode_fn(params, np.asarray(video_BTYXC))
    assert rows_of_a_shard(again_BTYXC) == rows
    (pictures[devices],) = director.decode([z_BFYXC])
  np.testing.assert_array_equal(pictures['eight'], pictures['one'])
  np.testing.assert_allclose(
    from_bytes(pictures['one']), z_BFYXC + 0.5, atol=1 / 127
  )


@pytest.mark.slow
def test_wan_s_autoencoder_is_split_by_rows_and_changes_nothing():
  rng, films, encoded = np.random.default_rng(0), {}, {}
  chunks = rng.normal(size=(2, 1, 3, 8, 4, 16)).astype(np.float32)
  for devices, rows in (('one', 64), ('eight', 8)):
    director = make_director(make_config(wan_1_3b.get_config(), devices, **WAN))
    params = director.codec_params
    state = director.codec.init_decode(params, (1, 8, 4, 16))
    video, state = director.decode_fn(params, chunks[0], state, first=True)
    assert rows_of_a_shard(video) == rows
    assert rows_of_a_shard(jax.tree.leaves(state)[-1]) == rows
    films[devices] = np.concatenate(list(director.decode(chunks)), 1)
    z_BFYXC = director.encode_fn(params, films['one'])
    encoded[devices] = np.asarray(z_BFYXC)
  assert films['one'].shape == (1, 21, 64, 32, 3)
  assert films['one'].std() > 1
  apart = films['eight'].astype(int) - films['one'].astype(int)
  assert np.abs(apart).max() <= 1
  np.testing.assert_allclose(encoded['eight'], encoded['one'], atol=1e-5)


def test_weights_are_loaded_onto_the_devices_once(tmp_path):
  zeros = functools.partial(jax.tree.map, lambda x: np.zeros(x.shape, x.dtype))
  for devices, count in (('one', 1), ('eight', 8)):
    cfg = make_config(tiny.get_config(), devices, **{'dit.heads': 8})
    dit_init = functools.partial(denoiser.init_params, cfg.dit)
    codec_init = make_codec(cfg.codec).init
    for name, init in (('base', dit_init), ('codec', codec_init)):
      shapes = jax.eval_shape(init, jax.random.key(0))
      save_tree(tmp_path / f'{name}.safetensors', zeros(shapes), {})
    director = load_director(cfg, str(tmp_path))
    for params in (director.params, director.codec_params):
      for x in jax.tree.leaves(params):
        assert isinstance(x, jax.Array) and len(x.devices()) == count
    assert all(
      x.is_fully_replicated for x in jax.tree.leaves(director.codec_params)
    )


def test_unknown_actions_are_refused_before_a_film_begins():
  config = tiny.get_config()
  config.text.actions = ('left', 'jump')
  config.dit.actions = 2
  director = make_director(resolve(config))
  prompts = ('Ada walks [left|jump]', 'Ada walks [fly]')
  film = Film([Segment(prompt, chunks=1) for prompt in prompts])
  with pytest.raises(UserError, match=r'segments\[1\]: .* an action fly; this'):
    director.check(film)


def test_moves_stand_beside_the_actions_of_a_prompt():
  config = tiny.get_config()
  config.text.actions, config.text.camera = ('left', 'jump'), True
  config.dit.actions, config.dit.camera = 2, (0.5, 0.9)
  programs = RolloutPrograms(resolve(config))
  segments = [{'prompt': 'Ada [left|jump]', 'chunks': 1, 'camera': '-,w'}]
  film = screenplay.parse({'segments': segments}, 'here')
  prompts = screenplay.chunk_prompts(film, 'Cut to: ', 1.5)
  rows = programs.chunk_input(prompts).text_BWD[0, 8:]
  assert rows[:, :2].tolist() == [[1, 0], [0, 1], [0, 1]]
  poses = camera.poses([{}, {'w': 1}, {}])
  np.testing.assert_allclose(rows[:, 2:14], poses, atol=1e-7)


def test_moves_of_a_segment_reach_its_latent_frames():
  document = {
    'segments': [
      {'prompt': 'Ada runs', 'chunks': 2, 'camera': '-,w*3'},
      {'prompt': 'Ada runs', 'chunks': 1},
    ]
  }
  film = screenplay.parse(document, 'here')
  prompts = screenplay.chunk_prompts(film, 'Cut to: ', 1.5)
  config = tiny.get_config()
  config.text.camera, config.dit.camera = True, (0.5, 0.9)
  programs = RolloutPrograms(resolve(config))
  rows = [programs.chunk_input([p]).text_BWD[0, 8:, :12] for p in prompts]
  moves = [[{}, {'w': 1}, {'w': 1}], [{'w': 1}, {}, {}], [{}, {}, {}]]
  for found, frames in zip(rows, moves, strict=True):
    np.testing.assert_allclose(found, camera.poses(frames), atol=1e-7)
  blended = prompts[0]._replace(previous_prompt='Ben runs', share=0.5)
  rows = programs.chunk_input([blended]).text_BWD[0, 8:, :12]
  np.testing.assert_allclose(rows, camera.poses(moves[0]), atol=1e-7)
  plain = RolloutPrograms(resolve(tiny.get_config()))
  assert not plain.follows('-,w*3') and plain.follows('-*4')
  first = plain.chunk_input(prompts[:1]).text_BWD
  assert first.shape == (1, 8, 16)  # the moves are left out
  steered = tiny.get_config()
  steered.text.actions, steered.dit.actions = ('s', 'w'), 2
  row = RolloutPrograms(resolve(steered)).chunk_input(prompts[:1]).text_BWD
  assert row[0, 8:, :2].tolist() == [[0, 0], [0, 1], [0, 1]]
