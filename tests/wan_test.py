"""Wan at its real sizes: traced whole, and two of its layers run."""

import dataclasses
import functools
import importlib
import json
import pathlib
import re
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import configs
from cinejax.config import resolve
from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.diffusion import timesteps
from cinejax.directing.loading import load_director
from cinejax.directing.rollout_programs import RolloutPrograms
from cinejax.film import screenplay
from cinejax.film.timeline import Timeline
from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.models import denoiser, rollout_pass
from cinejax.models.codec.select import make_codec
from cinejax.rollout.state import ChunkInput
from tests.wan import MODELS, NAMES, load, params_of, zero_text

ROOT = pathlib.Path(__file__).resolve().parents[1]
CHUNK = ChunkInput(
  text_BWD=jax.ShapeDtypeStruct((1, 512, 4096), jnp.float32),
  cut_B=jax.ShapeDtypeStruct((1,), bool),
)


def programs_of(cfg):
  """The programs of `cfg`, without weights and without a text encoder."""
  return RolloutPrograms(cfg, text_encoder=zero_text(cfg))


def chunk_secs(cfg):
  stride = make_codec(cfg.codec).temporal_stride
  return Timeline(cfg.film.frames_per_chunk, stride, cfg.film.fps).chunk_secs


@pytest.mark.parametrize(
  ('name', 'count', 'bank_gb', 'frame'),
  [
    ('wan_1_3b', 1_418_996_800, 18.4, (60, 104, 16)),
    ('wan_5b', 4_999_787_712, 20.8, (44, 80, 48)),
    pytest.param(
      'wan_14b', 14_288_491_584, 81.8, (60, 104, 16), marks=pytest.mark.slow
    ),
  ],
)
def test_a_chunk_of_a_film_traces_at_full_size(name, count, bank_gb, frame):
  cfg = load(name)
  programs = programs_of(cfg)
  params = params_of(cfg.dit)
  assert tree_lib.count(params) == count
  assert programs.latent_shape == (3, *frame)
  state = jax.eval_shape(lambda: programs.begin([0]))
  memory = state.bank.memory
  stored = (memory.key.data, memory.value.data)
  tokens = frame[0] * frame[1] // 4
  assert memory.key.data.shape[1:4] == (1, 64, tokens)
  assert sum(x.size * x.dtype.itemsize for x in stored) == pytest.approx(
    bank_gb * 1e9, rel=2e-3
  )
  chunk = CHUNK
  if name == 'wan_5b':  # with the opening image of TI2V
    chunk = CHUNK.replace(
      image_BYXC=jax.ShapeDtypeStruct((1, *frame), jnp.float32)
    )
  after, output = jax.eval_shape(programs.step, params, state, chunk)
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert output.latents_BFYXC.shape == (1, 3, *frame)
  assert output.frame_JLBR.shape == (50, cfg.dit.layers, 1, 5)


@pytest.mark.parametrize('variant', ['four', 'frame_one'])
def test_students_trace_in_chunks_of_three_and_of_one(variant):
  cfg = load('wan_1_3b', variant)
  # as deep as a trace needs
  cfg = dataclasses.replace(cfg, dit=dataclasses.replace(cfg.dit, layers=2))
  programs = programs_of(cfg)
  state = jax.eval_shape(lambda: programs.begin([0]))
  assert state.negative is None
  _, output = jax.eval_shape(programs.step, params_of(cfg.dit), state, CHUNK)
  frames = 1 if variant == 'frame_one' else 3
  assert output.latents_BFYXC.shape == (1, frames, 60, 104, 16)
  assert cfg.data.chunks * frames == 60


def test_the_times_are_those_of_the_papers():
  cfg = load('wan_1_3b')
  grid = timesteps.student_grid(4, cfg.diffusion.shift)
  np.testing.assert_allclose(grid, [1, 0.9375, 5 / 6, 0.625, 0], atol=1e-6)
  ode = timesteps.euler_grid(cfg.init.grid, cfg.diffusion.shift)
  np.testing.assert_allclose(ode[[0, 12, 24, 36]], grid[:4], atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('variant', configs.VARIANTS)
def test_every_variant_makes_films_of_60_latents(name, variant):
  cfg = load(name, variant)
  assert cfg.data.chunks * cfg.film.frames_per_chunk == 60
  if variant in configs.STUDENTS:  # what is trained is what is rolled out
    assert cfg.rollout.steps == configs.STUDENTS[variant]
    first = 4 if variant.startswith('frame') else 0
    assert cfg.rollout.first_steps == first


def commands(name):
  """The command lines of a runbook, and the flags it adds to them."""
  text = importlib.import_module(f'configs.{name}').__doc__
  lines = re.sub(r'\\\n\s*', '', text).splitlines()
  return [x for x in lines if '--config.' in x or 'cinejax.' in x]


@pytest.mark.parametrize('name', NAMES)
def test_what_the_runbook_sets_is_there(name):
  found = commands(name)
  assert len(found) >= 2
  for line in found:
    module = importlib.import_module(f'configs.{name}')
    variant = re.search(rf'configs/{name}\.py:(\w+)', line)
    config = module.get_config(variant[1] if variant else '').lock()
    for key, value in re.findall(r'--config\.([\w.]+)=(\S+)', line):
      value = shlex.split(value)[0].rstrip('.;')
      owner = config
      *sections, last = key.split('.')
      for section in sections:
        owner = owner[section]
      kind = type(owner[last])
      owner[last] = eval(value) if kind is tuple else kind(value)
    cfg = resolve(config)
    if 'cinejax.train' in line:  # on 64 devices, a film a group at a time
      groups = 64 // cfg.mesh.sequence
      for stage in cfg.train.stages:
        settings = getattr(cfg.stage, stage)
        assert settings.batch == groups * settings.accumulate, line


HOLOCINE = """[global caption] A harbour at dawn. This scene contains 3 shots.
[per shot caption] Wide shot of boats. [shot cut] A sailor ties a rope.
[shot cut] Close-up of the knot."""


def test_a_take_whose_prompt_changes_is_one_shot(tmp_path):
  """LongLive's form; its prompts hold 10 seconds each."""
  cfg = load('wan_1_3b', 'frame')
  line = json.dumps({'prompts': ['A boy stands.', 'A boy runs.']})
  (tmp_path / 'film.jsonl').write_text(line + '\n')
  (film,) = screenplay.load(tmp_path / 'film.jsonl')
  prompts = screenplay.chunk_prompts(film, cfg.film.cut_prefix, chunk_secs(cfg))
  assert len(prompts) == 80  # latents, of a quarter of a second
  assert not any(chunk.cut for chunk in prompts)
  assert prompts[40].prompt == 'A boy runs.'


def test_what_is_not_wanted_is_what_wan_samples_against():
  cfg, asked = load('wan_14b'), []
  encode = zero_text(cfg).encode

  class Asked:
    def encode(self, prompts):
      asked.extend(prompts)
      return encode(prompts)

  programs = RolloutPrograms(cfg, text_encoder=Asked())
  assert programs.step.negative_text_WD.shape == (512, 4096)
  assert asked == [cfg.rollout.negative_prompt]
  assert asked[0].startswith('色调艳丽，过曝，静态')


@pytest.mark.parametrize('name', ['wan_1_3b', 'wan_14b'])  # at 16 fps
def test_multi_shot_prompts_fill_a_film_of_60_latents(name, tmp_path):
  cfg = load(name)
  (tmp_path / 'film.txt').write_text(HOLOCINE)
  (film,) = screenplay.load(tmp_path / 'film.txt')
  prompts = screenplay.chunk_prompts(film, cfg.film.cut_prefix, chunk_secs(cfg))
  frames = cfg.film.frames_per_chunk
  assert abs(len(prompts) * frames - 60) <= frames
  cuts = [chunk.prompt for chunk in prompts if chunk.cut]
  assert len(cuts) == 2
  for prompt in cuts:
    assert prompt.startswith(cfg.film.cut_prefix)
    assert 'harbour' in prompt


@pytest.mark.parametrize(
  ('name', 'model'), list(zip(NAMES, MODELS, strict=True))
)
def test_weights_that_are_missing_say_where_they_come_from(
  name, model, tmp_path
):
  cfg = load(name)
  with pytest.raises(UserError) as error:
    load_director(cfg, str(tmp_path / 'wan'))
  for part in ('there is no', 'base.safetensors', f'Wan-AI/{model} '):
    assert part in str(error.value)
  save_file({}, tmp_path / 'diffusion_pytorch_model.safetensors')
  with pytest.raises(
    UserError,
    match=rf'no weights of {cfg.codec.name}.*hf download.*set config.train',
  ):
    load_director(cfg, str(tmp_path))


def test_weights_of_chunks_of_another_size_are_refused(tmp_path):
  metadata = {'config': json.dumps({'film': {'frames_per_chunk': 1}})}
  save_file({'x': np.zeros(1)}, tmp_path / 'base.safetensors', metadata)
  with pytest.raises(UserError, match=r'in chunks of 1 latent .* is 3; take'):
    load_director(load('wan_1_3b'), str(tmp_path))
  with pytest.raises(UserError, match='no weights of wan_vae'):
    load_director(load('wan_1_3b', 'frame'), str(tmp_path))


@pytest.mark.slow
def test_two_layers_at_full_width_run():
  """Over an empty bank, a frame sees what it sees alone; 1,560 tokens."""
  cfg = load('wan_1_3b', 'frame')
  dit = dataclasses.replace(
    cfg.dit, layers=2, compute_dtype='float32', remat='none', attention='xla'
  )
  params = jax.jit(functools.partial(denoiser.init_params, dit))(
    jax.random.key(0)
  )
  params['head']['kernel'] = 0.02 * jax.random.normal(
    jax.random.key(1), params['head']['kernel'].shape
  )
  x = jax.random.normal(jax.random.key(2), (1, 1, 1, 60, 104, 16))
  text = jax.random.normal(jax.random.key(3), (1, 1, 512, 4096))
  t = jnp.full((1, 1, 1), 0.9375)
  alone = jax.jit(denoiser.make_bidirectional_fn(dit))(params, x, t, text)
  memory = dataclasses.replace(cfg.memory, bank_frames=15)
  bank = bank_lib.empty(
    layers=2,
    batch=1,
    frames=15,
    tokens=1560,
    heads=dit.heads,
    features=dit.head_features,
    dtype=jnp.float32,
  )
  view = router.bank_view(
    bank,
    jnp.zeros(1, jnp.int32),
    frames=1,
    window=memory.window_frames,
    routed=memory.routed_frames,
    policy='camr',
  )
  done = jax.jit(rollout_pass.make_denoise_fn(dit, memory))(
    params, x, t, text, bank.memory, view
  )
  assert done.velocity_BFYXC.shape == (1, 1, 60, 104, 16)
  assert float(jnp.std(done.velocity_BFYXC)) > 0.1
  np.testing.assert_allclose(
    done.velocity_BFYXC, alone[:, 0], rtol=1e-3, atol=1e-4
  )
