"""launch/gpu_node.sh, against an ssh and a Slurm that take notes."""

import pytest

from tests.launch.fakes import calls


def test_gpu_hosts(fake):
  run, notes = fake
  done = run('gpu_node.sh', '--', '--workdir=w', HOSTS='a b', PYTHON='py')
  assert done.returncode == 0, done.stderr
  first, second = sorted(calls(notes))
  for index, call in enumerate((first, second)):
    assert f'--coordinator=a:12345 --processes=2 --process={index}' in call
    assert 'exec py -m cinejax.train --platform=gpu' in call
  (notes / 'calls').write_text('')
  run('gpu_node.sh', '--', '--workdir=w', SLURM_JOB_ID='1', PYTHON='py')
  (call,) = calls(notes)
  assert call.startswith('srun --kill-on-bad-exit=1 py -m cinejax.train')
  assert '--coordinator=auto --workdir=w' in call
  done = run('gpu_node.sh', '--dry_run', '--', '--workdir=w', PYTHON='py')
  assert 'py -m cinejax.train --platform=gpu --workdir=w' in done.stdout


@pytest.mark.parametrize(
  ('tasks', 'devices'),
  [({}, '0,1,2,3\n'), ({'SLURM_NTASKS_PER_NODE': '4'}, '\n')],
)
def test_slurm_s_processes_have_all_gpus_of_a_node(fake, tasks, devices):
  run, notes = fake
  job = {'SLURM_JOB_ID': '1', 'SLURM_GPUS_ON_NODE': '4'} | tasks
  done = run('gpu_node.sh', '--', '--workdir=w', **job)
  assert done.returncode == 0, done.stderr
  assert (notes / 'devices').read_text() == devices


@pytest.mark.parametrize(('ends', 'again'), [('', 0), ('0', 1), ('3', 0)])
def test_slurm_continues_what_its_time_limit_stopped(fake, ends, again):
  run, notes = fake
  done = run('gpu_node.sh', '--', '--workdir=w', SLURM_JOB_ID='7', ENDS=ends)
  assert done.returncode == int(ends or 0), done.stderr
  step, *rest = calls(notes)
  assert step.startswith('srun ') and rest == ['scontrol requeue 7'] * again
