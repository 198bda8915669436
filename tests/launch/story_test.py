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
  *data_prep*) exit ;;
  *codec\\',*) made=codec ;;
  *base\\',*) made=base ;;
  *tune\\',*) made=tune ;;
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
  done, calls = run('out', '--config.stage.base.batch=64', STORY_FILMS='9')
  assert done.returncode == 0, done.stderr
  weights = tmp_path / 'out' / 'weights'
  names = [path.stem for path in weights.glob('*.safetensors')]
  assert sorted(n for n in names if 'short' not in n) == MADE
  trained = [call for call in calls if 'cinejax.train' in call]
  assert len(trained) == 9
  assert all('--config.stage.base.batch=64' in call for call in trained)
  assert '--films=9' in calls[1] and 'codec.safetensors' in calls[1]
  assert 'codec_weights=out/weights/codec.safetensors' in trained[1]
  for call in trained[2:]:
    assert 'base_weights=out/weights/base.safetensors' in call
  firsts = ('init', 'short_four', 'short_two')
  for call, first in zip(trained[3::2], firsts, strict=True):
    assert f'init_weights=out/weights/{first}.safetensors' in call
  done, calls = run('out')
  assert done.returncode == 0
  assert not any('cinejax.train' in call for call in calls)


def test_a_training_that_stops_is_gone_on_with(run, tmp_path):
  done, _ = run('out', BREAK='tune')
  assert done.returncode == 75
  done, _ = run('out', BREAK='tune', WITH='0')  # as SIGTERM ends a training
  assert done.returncode == 130
  assert done.stderr.startswith('four is not trained yet; the same command')
  assert not (tmp_path / 'out' / 'weights' / 'four.safetensors').exists()
  done, calls = run('out')
  trained = [call for call in calls if 'cinejax.train' in call]
  assert done.returncode == 0 and len(trained) == 5
  assert '--workdir=out/four' in trained[0]


def test_it_asks_where_to(run):
  for arguments in ((), ('--config.seed=1',)):
    done, calls = run(*arguments)
    assert done.returncode == 2 and not calls
    assert done.stderr.startswith('error: ')
