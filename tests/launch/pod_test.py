"""The scripts for pods, against a `gcloud` and an `ssh` that take notes."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Answers a describe from a file of states, one a call; runs what it is asked
# to run on hosts here, in a folder that stands for a host's home.
FAKE_GCLOUD = r"""#!/usr/bin/env bash
line="$*"  # one write a call: hosts run at once
printf '%s\n' "${line//$'\n'/ }" >>"$NOTES/calls"
case "$*" in
  *'queued-resources describe'*)
    head -n 1 "$NOTES/states"
    sed -i 1d "$NOTES/states"
    ;;
  *'tpu-vm scp'*) cp "$5" "$NOTES/home/cinejax.tar.gz" ;;
  *'tpu-vm ssh'*)
    for word in "$@"; do
      case "$word" in
        --command=*)
          cd "$NOTES/home" && bash -c "${word#--command=}"
          exit
          ;;
      esac
    done
    ;;
esac
"""
FAKE_PYTHON = r"""#!/usr/bin/env bash
if [ "$1" = -m ] && [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  cp "$0" "$3/bin/python"
  printf '#!/bin/sh\n' >"$3/bin/pip"
  chmod +x "$3/bin/pip"
else
  echo "trained $*"
fi
"""


@pytest.fixture
def fake(tmp_path):
  """-> run(script, *words, **environment) -> CompletedProcess; and notes."""
  programs = tmp_path / 'bin'
  (tmp_path / 'home').mkdir()
  programs.mkdir()
  for name, text in {
    'gcloud': FAKE_GCLOUD,
    'python3.12': FAKE_PYTHON,
    'ssh': '#!/usr/bin/env bash\necho "ssh $*" >>"$NOTES/calls"\n',
    'srun': '#!/usr/bin/env bash\necho "srun $*" >>"$NOTES/calls"\n',
  }.items():
    (programs / name).write_text(text)
    (programs / name).chmod(0o755)
  (tmp_path / 'calls').touch()

  def run(script, *words, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith('SLURM')}
    return subprocess.run(
      ['bash', str(ROOT / 'launch' / script), *words],
      env=kept
      | {
        'PATH': f'{programs}:{os.environ["PATH"]}',
        'NOTES': str(tmp_path),
        'NAME': 'film',
        'ZONE': 'us-east5-a',
        'TYPE': 'v5p-128',
        'POLL_SECS': '0.1',
      }
      | environment,
      capture_output=True,
      text=True,
      timeout=60,
      check=False,
    )

  return run, tmp_path


def calls(folder):
  return (folder / 'calls').read_text().splitlines()


def test_a_pod_is_asked_for_and_deleted(fake):
  run, notes = fake
  assert run('tpu_pod.sh', 'create', SPOT='1', PROJECT='p').returncode == 0
  assert run('tpu_pod.sh', 'create', SLICES='2').returncode == 0
  assert run('tpu_pod.sh', 'delete').returncode == 0
  one, two, gone = calls(notes)
  assert one.split() == [
    'compute', 'tpus', 'queued-resources', 'create', 'film',
    '--accelerator-type=v5p-128', '--runtime-version=v2-alpha-tpuv5',
    '--node-id=film', '--spot', '--zone=us-east5-a', '--project=p',
  ]  # fmt: skip
  assert '--node-count=2 --node-prefix=film' in two
  assert 'queued-resources delete film --force --quiet' in gone


def test_it_is_set_up_and_runs_on_all_hosts_and_slices(fake):
  run, notes = fake
  told = run('tpu_pod.sh', 'setup')
  assert told.returncode == 0, told.stderr
  assert (notes / 'home/cinejax/cinejax/train.py').is_file()
  told = run('tpu_pod.sh', 'run', '--', '--workdir=a b')
  assert told.returncode == 0, told.stderr
  assert all('--worker=all' in call for call in calls(notes))
  log = notes / 'home/cinejax/log'
  subprocess.run(
    [
      'timeout',
      '10',
      'bash',
      '-c',
      f'until test -e {log.parent}/rc; do :; done',
    ],
    check=True,
  )
  assert '--coordinator=auto --platform=tpu --workdir=a b' in log.read_text()
  (notes / 'calls').write_text('')
  (notes / 'states').write_text('ACTIVE\n')
  told = run('tpu_pod.sh', 'status', SLICES='2')
  assert told.returncode == 0, told.stderr
  assert told.stdout.count('ended with 0') == 2
  reached = [call.split()[4] for call in calls(notes) if ' ssh ' in call]
  assert sorted(reached) == ['film-0', 'film-1']


def test_after_preemption_it_is_made_anew_and_goes_on(fake):
  run, notes = fake
  (notes / 'states').write_text(
    'SUSPENDED\nWAITING_FOR_RESOURCES\nACTIVE\n' + 'ACTIVE\n' * 50
  )
  told = run('tpu_pod.sh', 'resume', '--', '--workdir=w')
  assert told.returncode == 0, told.stderr
  assert told.stdout.splitlines()[-1] == 'film has finished'
  words = [call.split()[2:4] for call in calls(notes)]
  made = [' '.join(pair) for pair in words]
  assert made[:4] == [
    'queued-resources describe',
    'queued-resources delete',
    'queued-resources create',
    'queued-resources describe',
  ]
  assert sum('cinejax.train' in call for call in calls(notes)) == 1


@pytest.mark.parametrize(
  'word', ['create', 'setup', 'logs', 'status', 'stop', 'delete', 'resume']
)
def test_a_dry_run_prints_and_does_nothing(fake, word):
  run, notes = fake
  told = run('tpu_pod.sh', '--dry_run', word, '--', '--workdir=w')
  assert told.returncode == 0, told.stderr
  assert 'gcloud compute tpus' in told.stdout
  assert not calls(notes)


@pytest.mark.parametrize(
  ('words', 'environment', 'sentence'),
  [
    (['fly'], {}, 'fly is not create'),
    (['create'], {'NAME': ''}, 'NAME is not set'),
    (['create'], {'TYPE': 'v9-8'}, 'set VERSION'),
    (['run'], {}, 'needs the flags'),
  ],
)
def test_a_mistake_is_a_sentence(fake, words, environment, sentence):
  run, _ = fake
  told = run('tpu_pod.sh', *words, **environment)
  assert told.returncode == 2
  assert told.stderr.startswith('error: ') and sentence in told.stderr


def test_gpu_hosts(fake):
  run, notes = fake
  told = run('gpu_node.sh', '--', '--workdir=w', HOSTS='a b', PYTHON='py')
  assert told.returncode == 0, told.stderr
  first, second = sorted(calls(notes))
  for index, call in enumerate((first, second)):
    assert f'--coordinator=a:12345 --processes=2 --process={index}' in call
    assert 'exec py -m cinejax.train --platform=gpu' in call
  (notes / 'calls').write_text('')
  run('gpu_node.sh', '--', '--workdir=w', SLURM_JOB_ID='1', PYTHON='py')
  (call,) = calls(notes)
  assert call.startswith('srun --kill-on-bad-exit=1 py -m cinejax.train')
  assert '--coordinator=auto --workdir=w' in call
  told = run('gpu_node.sh', '--dry_run', '--', '--workdir=w', PYTHON='py')
  assert 'py -m cinejax.train --platform=gpu --workdir=w' in told.stdout


@pytest.mark.skipif(not shutil.which('shellcheck'), reason='no shellcheck here')
def test_scripts_pass_shellcheck():
  scripts = sorted(str(path) for path in (ROOT / 'launch').glob('*.sh'))
  told = subprocess.run(
    ['shellcheck', *scripts], capture_output=True, text=True, check=False
  )
  assert told.returncode == 0, told.stdout


@pytest.mark.slow
def test_two_processes_one_is_told_or_killed_and_one_goes_on(tmp_path):
  told = subprocess.run(
    ['bash', str(ROOT / 'launch/local_pod.sh'), str(tmp_path / 'run')],
    cwd=ROOT,
    env=os.environ | {'PYTHON': sys.executable},
    capture_output=True,
    text=True,
    timeout=2400,
    check=False,
  )
  assert told.returncode == 0, told.stdout + told.stderr
  assert 'stop: one process was told, both saved update' in told.stdout
  for stage in ('base', 'dmd'):
    assert f'{stage}: one process went on from update' in told.stdout
  assert told.stdout.count('each of 320 indices occurs once') == 2
