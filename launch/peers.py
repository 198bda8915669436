"""Times our chunk and PyTorch's, one process after the other, on one machine.

  python launch/peers.py --size=cpu --out=peers.jsonl

Both make the same chunk with random weights: four denoising steps and a commit,
the same tokens, context and caption. Ours is `cinejax.bench --what=rollout`,
the other one launch/torch_wan.py in the Python --torch_python, which needs
torch and diffusers. Sizes:

  gpu   Wan 2.1 1.3B whole, 832x480, bfloat16, layers unrolled
  cpu   two unrolled layers of its full width, few tokens, float32
  tiny  two narrow layers, to try this script

A line of JSON has both times in milliseconds, the median of each, and `ratio`,
by which ours is faster than the faster of PyTorch's two. With --rounds the two
take turns, and the least of the medians counts. `cpu_ratio` is the ratio of the
processors' time: where each has one core (taskset --cpu-list 0), it does not
depend on what other programs do there. Ours reads a prompt for every chunk.
PyTorch's keeps the first one's keys and values, as Self Forcing does; with
--prompts=chunk it also reads one for every chunk.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
_CODEC = {'codec.name': 'wan_vae', 'codec.width': 8, 'codec.blocks': 1}
SIZES = {
  'gpu': (
    {'device': 'cuda', 'dtype': 'bfloat16'},
    {'codec.name': 'taehv', 'dit.unroll': 'rollout'},
  ),
  'cpu': (
    {'layers': 2, 'height': 64, 'width': 96},
    _CODEC | {'dit.unroll': 'rollout'},
  ),
  'tiny': (
    {
      'layers': 2,
      'height': 32,
      'width': 48,
      'heads': 2,
      'mlp_features': 128,
      'words': 16,
      'text_features': 32,
    },
    _CODEC,
  ),
}
# Our key for each size of launch/torch_wan.py.
_KEYS = {
  'height': 'film.height',
  'width': 'film.width',
  'layers': 'dit.layers',
  'heads': 'dit.heads',
  'mlp_features': 'dit.mlp_features',
  'words': 'text.words',
  'text_features': 'text.features',
  'dtype': 'dit.compute_dtype',
}


def ours(sizes: dict, keys: dict, repeats: int, flags: list[str]) -> dict:
  """A row of cinejax.bench."""
  keys = keys | {_KEYS[name]: sizes[name] for name in sizes if name in _KEYS}
  keys.setdefault('dit.compute_dtype', 'float32')
  return _run(
    [
      *(sys.executable, '-m', 'cinejax.bench', '--what=rollout'),
      '--config=configs/wan_1_3b.py:four',
      f'--repeats={repeats}',
      *(f'--config.{key}={value}' for key, value in keys.items()),
      *flags,
    ]
  )


def theirs(python: str, sizes: dict, repeats: int) -> dict:
  """A row of launch/torch_wan.py."""
  flags = [f'--{name}={value}' for name, value in sizes.items()]
  return _run([python, 'launch/torch_wan.py', f'--repeats={repeats}', *flags])


def _run(command: list[str]) -> dict:
  answer = subprocess.run(
    command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
  )
  if answer.returncode:
    sys.exit(f'error: {" ".join(command)} failed')
  return json.loads(answer.stdout.splitlines()[-1])


def compared(rows: list[tuple[dict, dict]]) -> dict:
  """One line from the rows of all rounds."""
  other = rows[0][1]
  own, chunk, compiled, ratio = _least(rows, 'ms')
  line = {
    'ratio': ratio,
    'ours_ms': own,
    'torch_ms': chunk,
    'torch_compiled_ms': compiled,
  }
  if 'chunk_cpu_ms' in other:
    own, chunk, compiled, ratio = _least(rows, 'cpu_ms')
    line |= {
      'cpu_ratio': ratio,
      'ours_cpu_ms': own,
      'torch_cpu_ms': chunk,
      'torch_compiled_cpu_ms': compiled,
    }
  return {
    **line,
    'torch_compile_error': other.get('compile_error'),
    **{
      name: other[name]
      for name in ('layers', 'tokens', 'context_tokens', 'dtype', 'threads')
    },
    'torch': other['torch'],
    'diffusers': other['diffusers'],
    **{
      name: rows[0][0][name]
      for name in ('device', 'jax', 'jaxlib')
      if name in rows[0][0]
    },
  }


def _least(rows: list[tuple[dict, dict]], unit: str) -> tuple:
  """Least times of ours, PyTorch's and the compiled one, and their ratio."""

  def least(found: list[dict], name: str) -> dict | None:
    times = [row[name] for row in found if name in row]
    return min(times, key=lambda x: x['median'], default=None)

  own = least([a for a, _ in rows], f'chunk_{unit}')
  others = [b for _, b in rows]
  both = [
    least(others, f'{kind}_{unit}') for kind in ('chunk', 'compiled_chunk')
  ]
  best = min(times['median'] for times in both if times)
  return own, *both, best / own['median']


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--size', choices=SIZES, default='gpu')
  parser.add_argument('--out', required=True, help='file to append a line to')
  parser.add_argument('--torch_python', default=sys.executable)
  parser.add_argument('--repeats', type=int, default=10)
  parser.add_argument('--rounds', type=int, default=1)
  parser.add_argument('--prompts', choices=('film', 'chunk'), default='film')
  parser.add_argument('--note', default='', help='written into the line')
  args, flags = parser.parse_known_args()  # the others are those of the bench
  sizes, keys = SIZES[args.size]
  sizes = sizes | {'prompts': args.prompts}
  rows = [
    (
      ours(sizes, keys, args.repeats, flags),
      theirs(args.torch_python, sizes, args.repeats),
    )
    for _ in range(args.rounds)
  ]
  command = ' '.join(['python launch/peers.py', *sys.argv[1:]])
  line = {'command': command, 'size': args.size, 'prompts': args.prompts}
  line |= compared(rows)
  if args.note:
    line['note'] = args.note
  print(json.dumps(line))
  with open(args.out, 'a') as file:
    file.write(json.dumps(line) + '\n')


if __name__ == '__main__':
  main()
