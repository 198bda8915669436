"""launch/story.sh, with a `python` that makes files instead of training."""

import pytest

PYTHON = """#!/bin/bash
echo "$*" >> calls
for argument in "$@"; do
  case "$argument" in
    --workdir=*) dir="${argument#*=}" ;;
  esac
done
case "$*" in
  *codec\\',*) made=codec ;;
  *base\\',*) made=base ;;
  *init\\',*) made=init ;;
  *) made=dmd ;;
esac
if [ "$made" = "${BREAK:-}" ]; then exit "${WITH:-75}"; fi
mkdir -p "$dir" && echo "$dir" > "$dir/$made.safetensors"
"""
MADE = ['base', 'codec', 'four', 'init', 'one', 'two']


@pytest.fixture
def run(launch):
  return launch('story.sh', PYTHON)


def test_every_network_is_made_once_from_those_before(run, tmp_path):
  done, calls = run('out', '--config.stage.base.batch=64')
  assert done.returncode == 0, done.stderr
  weights = tmp_path / 'out' / 'weights'
  assert sorted(path.stem for path in weights.glob('*.safetensors')) == MADE
  assert len(calls) == 6 and all('cinejax.train' in call for call in calls)
  assert all('--config.stage.base.batch=64' in call for call in calls)
  assert 'story.py:curriculum_large' in calls[1]
  for call in calls[1:]:
    assert 'codec_weights=out/weights/codec.safetensors' in call
  for call in calls[2:]:
    assert 'base_weights=out/weights/base.safetensors' in call
  for call, first in zip(calls[3:], ('init', 'init', 'two'), strict=True):
    assert f'init_weights=out/weights/{first}.safetensors' in call
  done, calls = run('out')
  assert done.returncode == 0 and not calls


def test_a_training_that_stops_is_gone_on_with(run, tmp_path):
  done, _ = run('out', BREAK='dmd')
  assert done.returncode == 75
  done, _ = run('out', BREAK='dmd', WITH='0')  # as SIGTERM ends a training
  assert done.returncode == 130
  assert done.stderr.startswith('four is not trained yet; the same command')
  assert not (tmp_path / 'out' / 'weights' / 'four.safetensors').exists()
  done, calls = run('out')
  assert done.returncode == 0 and len(calls) == 3
  assert '--workdir=out/four' in calls[0]


def test_the_base_can_have_the_smaller_curriculum(run):
  done, calls = run('out', STORY_BASE='curriculum')
  assert done.returncode == 0
  assert '--config=configs/story.py:curriculum ' in calls[1]


def test_it_asks_where_to(run):
  for arguments in ((), ('--config.seed=1',)):
    done, calls = run(*arguments)
    assert done.returncode == 2 and not calls
    assert done.stderr.startswith('error: ')
