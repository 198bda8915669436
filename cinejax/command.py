"""What all commands share: flags, help, errors, devices, cache.

A command defines its own absl flags and a `main` without arguments, which it
passes to `run`. Within `main`, `config()` returns the frozen settings. An error
that the user can correct is printed as one sentence on stderr, with exit code
2.
"""

import copy
import inspect
import itertools
import operator
import os
import pathlib
import re
import runpy
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from cinejax.config import Config, resolve, unknown_key
from cinejax.core.comments import comment_of, key_comments
from cinejax.core.errors import UserError

# Beside cinejax/, in a clone and where pip installs it.
_CONFIGS = pathlib.Path(__file__).resolve().parents[1] / 'configs'
_HELP = re.compile(r'--?(help|helpshort|helpfull|\?)')  # absl's flags

_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'A file such as configs/story.py, or the name of one that ships, such as '
  'story:four; --config.a.b=v overrides.',
)
_PLATFORM = flags.DEFINE_enum(
  'platform', None, ['cpu', 'gpu', 'tpu'], 'Devices to run on; default: best.'
)


def config(changes: Mapping[str, Any] | None = None) -> Config:
  """The settings of --config and its overrides, frozen and checked.

  Args:
    changes: values by key, applied after the overrides.

  Raises:
    UserError: for an unknown key or a wrong value.
  """
  if _CONFIG.value is None:
    raise UserError('--config is missing; give one such as configs/story.py')
  if not changes:
    return resolve(_CONFIG.value)
  changed = copy.deepcopy(_CONFIG.value)  # with one-way references
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
  """The file that --config names."""
  return config_flags.get_config_filename(flags.FLAGS['config'])


def overrides() -> dict[str, Any]:
  """The overrides of the config on the command line, by key."""
  return dict(config_flags.get_override_values(flags.FLAGS['config']))


def platform() -> str | None:
  """The platform that --platform names, None by default."""
  return _PLATFORM.value


def line() -> str:
  """The command line of this process, for its report."""
  main = sys.modules['__main__'].__spec__
  program = ['-m', main.name] if main else [sys.argv[0]]
  return shlex.join(['python', *program, *sys.argv[1:]])


def run(
  main: Callable[[], None],
  before: Callable[[], None] = lambda: None,
  initialize_jax: bool = True,
) -> None:
  """Parses the command line, initializes JAX, calls `main` and exits.

  The exit code is 0, 2 after an error that the user can correct (`error: …` on
  stderr), or 141 if the reader of the output has closed it (`| head`). A
  traceback is a fault of the program.

  Args:
    main: the command.
    before: called before JAX looks for devices.
    initialize_jax: whether to choose devices and the cache of programs.
  """
  for name in ('config', 'platform'):  # shown by --help
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

  def start(_: Sequence[str]) -> None:
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)  # libraries log every step
    before()
    if initialize_jax:
      _initialize_jax(_PLATFORM.value)
    main()
    sys.stdout.flush()  # here, so that its errors are caught

  try:
    app.run(start, flags_parser=_parse)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)  # as after SIGPIPE


def script() -> None:
  """Runs the module of the console script `cinejax-NAME` that was called.

  `cinejax-NAME` is `python -m cinejax.NAME`, and `cinejax-data-NAME` is
  `python -m data_prep.NAME`. The module runs as `__main__`, whose docstring
  and flags `--help` shows.
  """
  name = pathlib.Path(sys.argv[0]).stem.removeprefix('cinejax-')
  data = name.removeprefix('data-')
  module = f'cinejax.{name}' if data == name else f'data_prep.{data}'
  runpy.run_module(module, run_name='__main__', alter_sys=True)


def _parse(argv: Sequence[str]) -> list[str]:
  argv = _with_located_config(argv)
  config = _load_config(argv)
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    raise UserError(str(error)) from error
  except SystemExit:  # absl has shown the flags
    if not any(_HELP.fullmatch(word) for word in argv[1:]):
      raise
    _print_keys(config)
    sys.exit(0)
  if rest[1:]:
    raise UserError(f'{rest[1]} is not a flag; flags begin with --')
  return rest


def _with_located_config(argv: Sequence[str]) -> list[str]:
  """`argv` with the path of a shipped config in place of its name."""
  given, _ = _config_arguments(argv[1:])
  if given is None:
    return list(argv)
  path, colon, variant = given.partition(':')
  located = str(_locate(path)) + colon + variant
  changed = []
  for before, word in itertools.pairwise(('', *argv)):
    if word == f'--config={given}' or word == f'-config={given}':
      word = f'--config={located}'
    elif word == given and re.fullmatch('--?config', before):
      word = located
    changed.append(word)
  return changed


def _locate(path: str) -> pathlib.Path:
  """`path`, or where no such file is, the shipped config of that name."""
  if not pathlib.Path(path).is_file():
    name = path.removeprefix('configs/').removesuffix('.py')
    shipped = _CONFIGS / f'{name}.py'
    if name and shipped.is_file():
      return shipped
  return pathlib.Path(path)


def _load_config(argv: Sequence[str]) -> ConfigDict | None:
  """What --config names, without overrides; None if there is no --config.

  Raises UserError for a file or a key that is not there: config_flags would
  end in a traceback that names neither file nor nearest key.
  """
  given, overrides = _config_arguments(argv[1:])
  if given is None:
    return None
  path, _, variant = given.partition(':')
  if not pathlib.Path(path).is_file():
    shipped = ', '.join(
      sorted(file.stem for file in _CONFIGS.glob('[a-z]*.py'))
    )
    raise UserError(
      f'--config={path}: there is no such file, nor a config of that name '
      f'among those that ship ({shipped})'
    )
  try:
    get_config = runpy.run_path(path).get('get_config')
  except (SyntaxError, NameError, ValueError) as error:  # not Python
    raise UserError(f'--config={path} is no config: {error}') from error
  if get_config is None:
    raise UserError(f'--config={path} is no config: it has no get_config()')
  if variant and not inspect.signature(get_config).parameters:
    raise UserError(f'--config={given}: {path} has no variants')
  config = get_config(variant) if variant else get_config()
  known = set(_keys(config, 'config'))
  for key in overrides:
    if key not in known:
      raise unknown_key(key, sorted(known))
  return config


def _print_keys(config: ConfigDict | None) -> None:
  """Prints each key of `config`, its value and what configs/base.py says."""
  base = _CONFIGS / 'base.py'
  if config is None:
    config = runpy.run_path(str(base))['get_config']()
  comments = key_comments(base.read_text(encoding='utf-8'))
  wrap = textwrap.TextWrapper(
    width=80,
    initial_indent='  ',
    subsequent_indent='      ',
    break_long_words=False,
    break_on_hyphens=False,
  )
  print('\nkeys of --config, with their values if nothing overrides them:')
  for path in _keys(config, 'config'):
    key = path.removeprefix('config.')
    value = operator.attrgetter(key)(config)
    if isinstance(value, ConfigDict):
      continue
    # tuples as a shell takes them
    shown = f'"{value}"' if isinstance(value, tuple) else repr(value)
    print(wrap.fill(f'--{path}={shown}  # {comment_of(key, comments)}'))


def _config_arguments(words: Sequence[str]) -> tuple[str | None, list[str]]:
  """The file of --config and the overridden keys, found without absl."""
  file, keys = None, []
  for word, following in itertools.zip_longest(words, words[1:]):
    if match := re.fullmatch(r'--?config(?:=(.*))?', word, re.DOTALL):
      file = following if match[1] is None else match[1]
    elif match := re.match(r'--?(?:no)?(config\.[\w.]+)', word):
      keys.append(match[1])
  return file, keys


def _keys(section: ConfigDict, path: str) -> Iterator[str]:
  for name, value in section.items():
    yield f'{path}.{name}'
    if isinstance(value, ConfigDict):
      yield from _keys(value, f'{path}.{name}')


def _initialize_jax(platform: str | None) -> None:
  """Sets the devices, their share of memory and the cache of programs."""
  fractions = {'XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION'}
  if not fractions & os.environ.keys():
    # The share of a GPU's memory: a little more than core/topology.py assumes
    # for plans. The default of JAX is .75.
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
      f'--platform={platform}: JAX finds no such device here; give another '
      f"platform, or install its driver and pip install 'cinejax[{extra}]'"
    ) from error
