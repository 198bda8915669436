"""The scripts for pods, against a `gcloud` and an `ssh` that take notes."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Answers a describe from a file of states, one a call; runs what it is asked
# to run on hosts here, in a folder that stands for a host's home: its slice's,
# or one for all. What the first line of `faults` names fails once.
FAKE_GCLOUD = r"""#!/usr/bin/env bash
line="$*"  # one write a call: hosts run at once
printf '%s\n' "${line//$'\n'/ }" >>"$NOTES/calls"
fault="$(head -n 1 "$NOTES/faults" 2>/dev/null)"
if [ -n "$fault" ] && [[ "$line" == *"$fault"* ]]; then
  sed -i 1d "$NOTES/faults"
  echo 'ERROR: UNAVAILABLE' >&2
  exit 1
fi
home="$NOTES/home"
for word in "$5" "${6%%:*}"; do
  if [ -d "$NOTES/$word" ]; then home="$NOTES/$word"; fi
done
case "$*" in
  *'queued-resources describe'*)
    now="$(head -n 1 "$NOTES/states")"
    sed -i 1d "$NOTES/states"
    if [ "$now" = NOT_FOUND ]; then
      echo "ERROR: NOT_FOUND: Resource '$5' was not found" >&2
      exit 1
    fi
    echo 'WARNING: FAILED to tell its version' >&2
    echo "$now"
    ;;
  *'tpu-vm scp'*) cp "$5" "$home/cinejax.tar.gz" ;;
  *'tpu-vm ssh'*)
    for word in "$@"; do
      case "$word" in
        --command=*)
          cd "$home" && bash -c "${word#--command=}"
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


# Near its time limit, if there is one, the job is told, and hands it on; the
# training then ends with the exit code ENDS.
FAKE_SRUN = r"""#!/usr/bin/env bash
echo "srun $*" >>"$NOTES/calls"
echo "${JAX_LOCAL_DEVICE_IDS:-}" >"$NOTES/devices"
if [ -n "${ENDS:-}" ]; then
  trap 'exit "$ENDS"' TERM
  kill -USR1 "$PPID"
  for _ in {1..100}; do sleep 0.1; done
  exit 9
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
    'srun': FAKE_SRUN,
    'scontrol': '#!/usr/bin/env bash\necho "scontrol $*" >>"$NOTES/calls"\n',
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
        'HALT_SECS': '20',
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


def resumed(run, notes, states, faults='', **environment):
  (notes / 'states').write_text(states + 'ACTIVE\n' * 50)
  (notes / 'faults').write_text(faults)
  return run('tpu_pod.sh', 'resume', '--', '--workdir=w', **environment)


def test_what_gcloud_could_not_tell_is_asked_again(fake):
  run, notes = fake
  faults = 'describe\ndescribe\ntpu-vm ssh\ntpu-vm scp\n.new\n'
  told = resumed(run, notes, '', faults)
  assert told.returncode == 0, told.stderr
  assert not (notes / 'faults').read_text()
  assert not any('create' in call for call in calls(notes))
  (notes / 'calls').write_text('')
  told = resumed(run, notes, 'NOT_FOUND\n', 'resources create\n')
  assert told.returncode == 0, told.stderr
  made = [call.split()[3] for call in calls(notes) if ' ssh ' not in call]
  assert made[:3] == ['describe', 'create', 'describe']
  told = resumed(run, notes, '', 'describe\n' * 3, TRIES='3')
  assert told.returncode == 2
  assert 'error: gcloud failed 3 times in a row' in told.stderr


def test_hosts_that_live_on_are_stopped_before_all_start_anew(fake):
  run, notes = fake
  for slice in ('film-0', 'film-1'):
    (notes / slice / 'cinejax').mkdir(parents=True)
    (notes / slice / 'cinejax' / 'pid').write_text('')  # died with its host
  alive = notes / 'film-0' / 'cinejax'
  with subprocess.Popen(
    ['bash', '-c', 'sleep 100; echo $? >rc'], cwd=alive
  ) as process:
    (alive / 'pid').write_text(str(process.pid))
    told = resumed(run, notes, '', SLICES='2')
    assert told.returncode == 0, told.stderr
    assert process.wait(timeout=10) == 0
  said = [line for line in told.stdout.splitlines() if 'hosts are' in line]
  assert said[:2] == ['film: its hosts are alive dead'] * 2
  assert said[-1] == 'film: its hosts are finished'
  order = [
    word
    for call in calls(notes)
    for word in ('TERM', 'scp', 'cinejax.train')
    if word in call
  ]
  assert order == sorted(order, key=('TERM', 'scp', 'cinejax.train').index)
  assert len(order) == 6


def test_a_run_that_failed_everywhere_is_not_tried_again(fake):
  run, notes = fake
  (notes / 'home' / 'cinejax').mkdir()
  for name, text in {'rc': '1\n', 'log': 'no such key\n'}.items():
    (notes / 'home' / 'cinejax' / name).write_text(text)
  told = resumed(run, notes, '')
  assert told.returncode == 2 and 'ended with an error' in told.stderr
  assert 'no such key' in told.stdout


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


@pytest.mark.parametrize(
  ('tasks', 'devices'),
  [({}, '0,1,2,3\n'), ({'SLURM_NTASKS_PER_NODE': '4'}, '\n')],
)
def test_slurm_s_processes_have_all_gpus_of_a_node(fake, tasks, devices):
  run, notes = fake
  job = {'SLURM_JOB_ID': '1', 'SLURM_GPUS_ON_NODE': '4'} | tasks
  told = run('gpu_node.sh', '--', '--workdir=w', **job)
  assert told.returncode == 0, told.stderr
  assert (notes / 'devices').read_text() == devices


@pytest.mark.parametrize(('ends', 'again'), [('', 0), ('0', 1), ('3', 0)])
def test_slurm_goes_on_with_what_its_time_limit_stopped(fake, ends, again):
  run, notes = fake
  told = run('gpu_node.sh', '--', '--workdir=w', SLURM_JOB_ID='7', ENDS=ends)
  assert told.returncode == int(ends or 0), told.stderr
  step, *rest = calls(notes)
  assert step.startswith('srun ') and rest == ['scontrol requeue 7'] * again


@pytest.mark.skipif(not shutil.which('shellcheck'), reason='no shellcheck here')
def test_scripts_pass_shellcheck():
  scripts = sorted(str(path) for path in (ROOT / 'launch').glob('*.sh'))
  told = subprocess.run(
    ['shellcheck', *scripts], capture_output=True, text=True, check=False
  )
  assert told.returncode == 0, told.stdout
