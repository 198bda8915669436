"""The metrics of a probe, and the kind of each chunk."""

import dataclasses
import pathlib

import jax.numpy as jnp
import pytest

from cinejax import config as config_lib
from cinejax.interop.weights import load_codec
from cinejax.models import denoiser
from cinejax.models.text.select import make_text
from cinejax.story import world
from cinejax.training import recall_probe
from configs import story

CODEC = pathlib.Path(__file__).parents[2] / 'weights/story/codec.safetensors'


def _index(hue, shape, pattern):
  return world.APPEARANCES.index(world.Appearance(hue, shape, pattern))


def test_metrics_are_shares_by_kind():
  wanted = [_index(0, 0, 0)] * 4
  drawn = [_index(0, 0, 0), _index(0, 1, 1), _index(2, 0, 0), -1]
  confused = [False, True, False, False]
  metrics = recall_probe.summary(['far'] * 4, drawn, wanted, confused)
  assert metrics == {
    'recall/far_exact': 0.25,
    'recall/far_confused': 0.25,
    'recall/far_unreadable': 0.25,
    'recall/far_hue': pytest.approx(2 / 3),
    'recall/far_shape': pytest.approx(2 / 3),
    'recall/far_pattern': pytest.approx(2 / 3),
  }


def test_unreadable_chunks_have_no_hue():
  metrics = recall_probe.summary(['new'], [-1], [3], [False])
  assert metrics == {
    'recall/new_exact': 0.0,
    'recall/new_confused': 0.0,
    'recall/new_unreadable': 1.0,
  }


def test_the_kind_of_a_chunk_follows_from_earlier_chunks():
  people = (0, 0, 1, 0, 2, 3, 2, 1)
  segment = world.StorySegment(
    character=0, place=0, size=0, camera=0, action=0, chunks=1, cut=True
  )
  segments = tuple(
    dataclasses.replace(
      segment, character=who, cut=bool(i) and who != people[i - 1]
    )
    for i, who in enumerate(people)
  )
  cast = world.StoryFilm(seed=0, segments=segments, appearances=tuple(range(8)))
  assert recall_probe._kinds(cast, 8, window_chunks=3) == [
    'new',
    'continued',
    'new',
    'near',
    'new',
    'new',
    'near',
    'far',
  ]


@pytest.mark.slow
def test_a_perfect_model_has_perfect_recall(monkeypatch):
  """Its velocity is the true one; codec and reader are the shipped ones."""
  monkeypatch.setattr(recall_probe, 'FILMS', 2)
  monkeypatch.setattr(recall_probe, 'STEPS', 1)

  def make_film_fn(dit, memory):
    def film_fn(params, clean, noisy, t, *rest, ranks=None):
      return (noisy - clean) / t[..., None, None, None] + params, None

    return film_fn

  monkeypatch.setattr(denoiser, 'make_film_fn', make_film_fn)
  config = story.get_config()
  config.data.chunks = 8
  cfg = config_lib.resolve(config)
  codec, codec_params = load_codec(cfg.codec, CODEC)
  probe = recall_probe.make_recall_probe(cfg, make_text(cfg.text), codec)
  metrics = probe(jnp.zeros(()), codec_params)
  assert metrics['recall/near_exact'] == metrics['recall/new_exact'] == 1
  wrong = probe(jnp.full((), 3.0), codec_params)
  assert wrong['recall/near_exact'] < 0.5
