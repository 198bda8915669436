"""The scripts for pods, against a `gcloud` and an `ssh` that take notes."""

import pathlib
import shutil
import subprocess

import pytest

from tests.launch.fakes import calls

ROOT = pathlib.Path(__file__).resolve().parents[2]


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
  done = run('tpu_pod.sh', 'setup')
  assert done.returncode == 0, done.stderr
  assert (notes / 'home/cinejax/cinejax/train.py').is_file()
  done = run('tpu_pod.sh', 'run', '--', '--workdir=a b')
  assert done.returncode == 0, done.stderr
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
  done = run('tpu_pod.sh', 'status', SLICES='2')
  assert done.returncode == 0, done.stderr
  assert done.stdout.count('ended with 0') == 2
  reached = [call.split()[4] for call in calls(notes) if ' ssh ' in call]
  assert sorted(reached) == ['film-0', 'film-1']


def test_after_preemption_it_is_created_again_and_continues(fake):
  run, notes = fake
  (notes / 'states').write_text(
    'SUSPENDED\nWAITING_FOR_RESOURCES\nACTIVE\n' + 'ACTIVE\n' * 50
  )
  done = run('tpu_pod.sh', 'resume', '--', '--workdir=w')
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == 'film has finished'
  words = [call.split()[2:4] for call in calls(notes)]
  verbs = [' '.join(pair) for pair in words]
  assert verbs[:4] == [
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


def test_what_gcloud_failed_to_answer_is_asked_again(fake):
  run, notes = fake
  faults = 'describe\ndescribe\ntpu-vm ssh\ntpu-vm scp\n.new\n'
  done = resumed(run, notes, '', faults)
  assert done.returncode == 0, done.stderr
  assert not (notes / 'faults').read_text()
  assert not any('create' in call for call in calls(notes))
  (notes / 'calls').write_text('')
  done = resumed(run, notes, 'NOT_FOUND\n', 'resources create\n')
  assert done.returncode == 0, done.stderr
  verbs = [call.split()[3] for call in calls(notes) if ' ssh ' not in call]
  assert verbs[:3] == ['describe', 'create', 'describe']
  done = resumed(run, notes, '', 'describe\n' * 3, TRIES='3')
  assert done.returncode == 2
  assert 'error: gcloud failed 3 times in a row' in done.stderr


def test_hosts_that_still_run_are_stopped_before_all_start_again(fake):
  run, notes = fake
  for slice in ('film-0', 'film-1'):
    (notes / slice / 'cinejax').mkdir(parents=True)
    (notes / slice / 'cinejax' / 'pid').write_text('')  # died with its host
  alive = notes / 'film-0' / 'cinejax'
  with subprocess.Popen(
    ['bash', '-c', 'sleep 100; echo $? >rc'], cwd=alive
  ) as process:
    (alive / 'pid').write_text(str(process.pid))
    done = resumed(run, notes, '', SLICES='2')
    assert done.returncode == 0, done.stderr
    assert process.wait(timeout=10) == 0
  states = [line for line in done.stdout.splitlines() if 'hosts are' in line]
  assert states[:2] == ['film: its hosts are alive dead'] * 2
  assert states[-1] == 'film: its hosts are finished'
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
  done = resumed(run, notes, '')
  assert done.returncode == 2 and 'ended with an error' in done.stderr
  assert 'no such key' in done.stdout


@pytest.mark.parametrize(
  'word', ['create', 'setup', 'logs', 'status', 'stop', 'delete', 'resume']
)
def test_a_dry_run_prints_and_does_nothing(fake, word):
  run, notes = fake
  done = run('tpu_pod.sh', '--dry_run', word, '--', '--workdir=w')
  assert done.returncode == 0, done.stderr
  assert 'gcloud compute tpus' in done.stdout
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
  done = run('tpu_pod.sh', *words, **environment)
  assert done.returncode == 2
  assert done.stderr.startswith('error: ') and sentence in done.stderr


@pytest.mark.skipif(not shutil.which('shellcheck'), reason='no shellcheck here')
def test_scripts_pass_shellcheck():
  scripts = sorted(str(path) for path in (ROOT / 'launch').glob('*.sh'))
  done = subprocess.run(
    ['shellcheck', *scripts], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stdout
