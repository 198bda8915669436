"""Weights know how they were trained, and differences are said."""

import dataclasses
import json
import pathlib

import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.directing import provenance
from cinejax.interop.archive import Archive, open_archive
from configs import story, tiny

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / 'weights' / 'story'


def _archive(cfg, stage, **changes):
  """Weights that `stage` made with `cfg`, with some keys changed."""
  config = dataclasses.asdict(cfg)
  for key, value in changes.items():
    section, name = key.split('__')
    config[section][name] = value
  metadata = {'config': json.dumps(config), 'stage': stage}
  return Archive(pathlib.Path('w.safetensors'), {}, metadata)


def _student(steps):
  cfg = resolve(tiny.get_config())
  rollout = dataclasses.replace(
    cfg.rollout, sampler='few_step', steps=steps, guidance=1.0
  )
  return dataclasses.replace(cfg, rollout=rollout)


@pytest.mark.parametrize('stage', ['init', 'dmd', 'tune'])
def test_a_student_of_two_steps_in_four(stage, capsys):
  two, four = _student(2), _student(4)
  provenance.check(two, _archive(two, stage))
  assert capsys.readouterr().err == ''
  provenance.check(four, _archive(two, stage))
  note = capsys.readouterr().err
  assert note.count('\n') == 1
  assert f'by the stage {stage} with config.rollout.steps=2' in note
  assert 'this config has config.rollout.steps=4' in note


def test_a_student_as_a_base_and_a_base_as_a_student():
  base, student = resolve(tiny.get_config()), _student(2)
  note = provenance.difference(base, _archive(student, 'dmd'))
  assert 'sampler=few_step, config.rollout.steps=2, and this' in note
  note = provenance.difference(student, _archive(base, 'base'))
  assert 'has config.rollout.sampler=few_step' in note
  # all stages may be trained with the config of the student
  assert not provenance.difference(base, _archive(student, 'base'))


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('diffusion__shift', 7.0),
    ('codec__name', 'taehv'),
    ('codec__spatial_stride', 64),
    ('codec__temporal_stride', 64),
  ],
)
def test_other_settings(key, value):
  cfg = resolve(tiny.get_config())
  note = provenance.difference(cfg, _archive(cfg, 'base', **{key: value}))
  assert f'config.{key.replace("__", ".")}={value}, and this' in note


def test_other_chunks_are_refused():
  cfg = resolve(tiny.get_config())
  archive = _archive(cfg, 'base', film__frames_per_chunk=99)
  with pytest.raises(UserError, match='trained in chunks of 99 latent frames'):
    provenance.check(cfg, archive)


def test_weights_of_others_say_nothing():
  cfg = _student(4)
  assert not provenance.difference(cfg, Archive(pathlib.Path('w'), {}, {}))


@pytest.mark.parametrize('variant', ['', 'four', 'two', 'one'])
def test_shipped_weights_fit_their_configs(variant):
  cfg = resolve(story.get_config(variant))
  archive = open_archive(SHIPPED / f'{cfg.rollout.weights}.safetensors')
  assert not provenance.difference(cfg, archive)
