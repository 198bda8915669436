"""An implementation of attention in bfloat16 beside XLA's in float32.

  python tests/models/attention_forms.py cudnn

A process of its own, since the tests' are held to the CPU. Prints the largest
error of values and of gradients, relative to their norms, by form; exits with
1 if one is above TOLERANCE, and with 77 for `cudnn` where JAX has no GPU.
"""

import sys

import jax
import jax.numpy as jnp

from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh
from cinejax.models import attention

TOLERANCE = 0.01  # XLA's own bfloat16 has 0.003
CHUNKS = 3
SHAPE = (2, 2 * CHUNKS * 48, 8, 64)  # [B, T, H, K] of keys
LENGTH_B = (SHAPE[1], 37)


def _rectangles(q, k, v, name):
  split = lambda x: x.reshape(2, 2 * CHUNKS, -1, *x.shape[2:])  # noqa: E731
  out = attention.attend_film(split(q), split(k), split(v), CHUNKS, name)
  return out.reshape(q.shape)


FORMS = {  # (form, its keys for each query)
  'dense': (lambda q, k, v, name: attention.attend(q, k, v, None, name), 1),
  'lengths': (
    lambda q, k, v, name: attention.attend(q, k, v, jnp.array(LENGTH_B), name),
    2,
  ),
  'by_query': (
    lambda q, k, v, name: attention.attend(q, k, v, None, name, by_query=True),
    2,
  ),
  'rectangles': (_rectangles, 1),
}


def errors(name: str) -> dict[str, float]:
  """The worst of a form's values and gradients."""
  return {form: _error(*FORMS[form], name) for form in FORMS}


def _error(form, share, name):
  keys = jax.random.split(jax.random.key(0), 4)
  q, k, v, weight = (
    jax.random.normal(key, SHAPE, jnp.bfloat16) for key in keys
  )
  q, weight = (x[:, : SHAPE[1] // share] for x in (q, weight))

  def run(args, name):
    out, pull = jax.vjp(lambda *args: form(*args, name), *args)
    return out, *pull(weight.astype(out.dtype))

  found = jax.jit(run, static_argnums=1)((q, k, v), name)
  exact = jax.jit(run, static_argnums=1)(
    tuple(x.astype(jnp.float32) for x in (q, k, v)), 'xla'
  )
  return max(
    float(jnp.linalg.norm((a - b).ravel()) / jnp.linalg.norm(b.ravel()))
    for a, b in zip(found, exact, strict=True)
  )


def main() -> None:
  (name,) = sys.argv[1:]
  if name == 'cudnn' and jax.default_backend() != 'gpu':
    sys.exit(77)
  with jax.set_mesh(make_mesh(MeshConfig(1, 1, -1, 1))):
    found = errors(name)
  print(found)
  sys.exit(max(found.values()) > TOLERANCE)


if __name__ == '__main__':
  main()
