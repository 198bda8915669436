"""What every `python -m cinejax.X` shares: flags, errors, devices, cache.

A command defines its own absl flags and a `main` without arguments, which it
hands to `run`. Within `main`, `config()` gives the frozen settings. What a
user can mend is told in one sentence on stderr, exit code 2.
"""

import copy
import inspect
import itertools
import os
import pathlib
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from cinejax.config import Config, resolve, unknown_key
from cinejax.core.errors import UserError

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'A file such as configs/story.py; --config.a.b=v overrides.'
)
_PLATFORM = flags.DEFINE_enum(
  'platform', None, ['cpu', 'gpu', 'tpu'], 'Devices to run on; default: best.'
)


def config(changes: Mapping[str, Any] | None = None) -> Config:
  """The settings of --config and its overrides, frozen and checked.

  `changes` (key -> value) come last.
  """
  if _CONFIG.value is None:
    raise UserError('--config is missing; give one such as configs/story.py')
  if not changes:
    return resolve(_CONFIG.value)
  changed = copy.deepcopy(_CONFIG.value)  # one-way references kept
  known = set(_keys(changed, 'config'))
  for key, value in changes.items():
    if f'config.{key}' not in known:
      raise unknown_key(f'config.{key}', sorted(known))
    try:
      changed.update_from_flattened_dict({key: value})
    except TypeError as error:
      raise UserError(f'config.{key} cannot be {value!r}: {error}') from error
  return resolve(changed)


def config_file() -> str:
  """What --config names."""
  return config_flags.get_config_filename(flags.FLAGS['config'])


def overrides() -> dict[str, Any]:
  """What the command line changes in it: key -> value."""
  return dict(config_flags.get_override_values(flags.FLAGS['config']))


def platform() -> str | None:
  """What --platform names."""
  return _PLATFORM.value


def line() -> str:
  """How this command was called, for a report of what it found."""
  main = sys.modules['__main__'].__spec__
  program = ['-m', main.name] if main else [sys.argv[0]]
  return shlex.join(['python', *program, *sys.argv[1:]])


def run(
  main: Callable[[], None],
  before: Callable[[], None] = lambda: None,
  initialize_jax: bool = True,
) -> None:
  """Parses the command line, wakes JAX, calls `main` and exits.

  `before` is called while JAX has not looked for devices yet, which it never
  does for us unless `initialize_jax`.

  Exit codes: 0; 2 with `error: …` on stderr for what the user can mend; 141
  where nobody reads what we print any more (`| head`); a traceback is a fault
  of ours.
  """
  for name in ('config', 'platform'):  # shown by --help
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

  def start(_: Sequence[str]) -> None:
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)  # libraries tell each step
    before()
    if initialize_jax:
      _initialize_jax(_PLATFORM.value)
    main()
    sys.stdout.flush()  # while what it raises can be caught

  try:
    app.run(start, flags_parser=_parse)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)  # as of SIGPIPE


def _parse(argv: Sequence[str]) -> list[str]:
  _check_config(argv)
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    raise UserError(str(error)) from error
  if rest[1:]:
    raise UserError(f'{rest[1]} is not a flag; flags begin with --')
  return rest


def _check_config(argv: Sequence[str]) -> None:
  """Raises UserError for a config file or a key of it that is not there.

  config_flags would end in a traceback that names neither file nor nearest.
  """
  given, overrides = _told_of_config(argv[1:])
  if given is None:
    return
  path, _, variant = given.partition(':')
  if not pathlib.Path(path).is_file():
    raise UserError(f'--config={path}: there is no such file')
  try:
    get_config = runpy.run_path(path).get('get_config')
  except (SyntaxError, NameError, ValueError) as error:  # of another language
    raise UserError(f'--config={path} is no config: {error}') from error
  if get_config is None:
    raise UserError(f'--config={path} is no config: it has no get_config()')
  if variant and not inspect.signature(get_config).parameters:
    raise UserError(f'--config={given}: {path} has no variants')
  config = get_config(variant) if variant else get_config()
  if overrides:
    known = set(_keys(config, 'config'))
    for key in overrides:
      if key not in known:
        raise unknown_key(key, sorted(known))


def _told_of_config(words: Sequence[str]) -> tuple[str | None, list[str]]:
  """(what --config names, the keys that are overridden), without absl."""
  file, keys = None, []
  for word, after in itertools.zip_longest(words, words[1:]):
    if told := re.fullmatch(r'--?config(?:=(.*))?', word, re.DOTALL):
      file = after if told[1] is None else told[1]
    elif told := re.match(r'--?(?:no)?(config\.[\w.]+)', word):
      keys.append(told[1])
  return file, keys


def _keys(section: ConfigDict, path: str) -> Iterator[str]:
  for name, value in section.items():
    yield f'{path}.{name}'
    if isinstance(value, ConfigDict):
      yield from _keys(value, f'{path}.{name}')


def _initialize_jax(platform: str | None) -> None:
  """Chooses the devices, how much of one, and where programs are kept."""
  fractions = {'XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION'}
  if not fractions & os.environ.keys():
    # of a GPU, more than core/topology.py plans with; JAX alone takes .75
    os.environ['XLA_CLIENT_MEM_FRACTION'] = '0.92'
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    folder = pathlib.Path(home) / 'cinejax' / 'jax'
    jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
  if platform is None:
    return
  jax.config.update('jax_platforms', platform)
  try:
    jax.devices()
  except RuntimeError as error:
    extra = 'cuda' if platform == 'gpu' else platform
    raise UserError(
      f'--platform={platform}: JAX finds no such device here; take another '
      f"platform, or install its driver and pip install 'cinejax[{extra}]'"
    ) from error
