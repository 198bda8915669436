"""Every test sees 8 virtual CPU devices and a compilation cache."""

import os
import pathlib
import shutil
import subprocess
import types

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path(__file__).resolve().parent.parent / '.jax_cache'),
)

import jax
import pytest
from absl import flags

from cinejax import direct
from cinejax.config import resolve
from configs import tiny
from tests.networks import save_networks

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_addoption(parser):
  parser.addoption('--all', action='store_true', help='run slow tests too')


def pytest_configure(config):
  # Most tests compile small programs and run each once. Without XLA's expensive
  # optimizations they take half as long. Slow tests run longer, so --all keeps
  # the optimizations, and with them all tests pass in both ways.
  if not config.getoption('--all'):
    given = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = (
      '--xla_backend_optimization_level=0 '
      f'--xla_llvm_disable_expensive_passes=true {given}'
    )


def pytest_collection_modifyitems(config, items):
  if config.getoption('--all'):
    return
  skip = pytest.mark.skip(reason='slow: run with --all')
  for item in items:
    if 'slow' in item.keywords:
      item.add_marker(skip)


_FLAGS = flags.FLAGS  # tests replace `flags.FLAGS`


@pytest.fixture
def give_flags(monkeypatch):
  """give_flags(module, NAME=VALUE): a command's flags, else their defaults."""

  def give(module, **given):
    known = set(_FLAGS)
    module.define_flags()
    names = set(_FLAGS) - known
    values = {name: _FLAGS[name].default for name in names}
    _FLAGS.remove_flag_values(names)
    assert given.keys() <= names
    monkeypatch.setattr(
      flags, 'FLAGS', types.SimpleNamespace(**(values | given))
    )

  return give


@pytest.fixture(scope='session')
def small_cfg():
  """configs/tiny.py with films of 16 x 16 pixels."""
  config = tiny.get_config()
  config.film.height = config.film.width = 16
  return resolve(config)


@pytest.fixture(scope='session')
def small_weights(small_cfg, tmp_path_factory):
  """A folder with random networks of `small_cfg`."""
  path = tmp_path_factory.mktemp('weights')
  save_networks(small_cfg, path)
  return path


@pytest.fixture
def run_direct(small_cfg, small_weights, tmp_path, monkeypatch, give_flags):
  """Runs direct's main with these flags; its folder is tmp_path/out."""

  def run(**changes):
    out = str(tmp_path / 'out')
    given = {'weights': str(small_weights), 'out': out, 'seed': 5}
    give_flags(direct, **(given | changes))
    monkeypatch.setattr(direct.command, 'config', lambda: small_cfg)
    direct.main()

  return run


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
  """Real clips and weights beside a developer's checkout."""
  path = pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'
  if not path.is_dir():
    pytest.skip('the shared data folder is not in a clone')
  return path


@pytest.fixture(scope='session')
def fixtures() -> pathlib.Path:
  """Small references and the scripts that made them."""
  return pathlib.Path(__file__).resolve().parent / 'fixtures'


@pytest.fixture
def small_disk(tmp_path):
  """A disk of 2 MB, which `mount` can make read-only; root may mount it."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  if shutil.which('mount') is None or os.geteuid():
    pytest.skip('only root can mount a disk')
  line = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', str(folder)]
  if subprocess.run(line, capture_output=True).returncode:
    pytest.skip('a disk cannot be mounted here')
  yield folder
  subprocess.run(['umount', '-l', str(folder)], check=True)
