"""One network of a checkpoint, and names without the prefixes of wrappers."""

import collections
import pathlib
from collections.abc import Mapping
from typing import Any

from cinejax.core.errors import UserError
from cinejax.interop.mapped import MappedTensor, Tensor

# averages come before what they are of
_NETWORKS = (
  'generator_ema',
  'student_ema',
  'model_ema',
  'ema_model',
  'net_ema',
  'ema',
  'generator',
  'student',
  'model',
  'net',
  'state_dict',
  'module',
  'generator_lora',
)
_WRAPPERS = {'_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_orig_mod'}
_OUTER = {
  'base_model',
  'model',
  'module',
  'diffusion_model',
  'transformer',
  'unet',
  'pipe',
  'dit',
}
# networks that ComfyUI's checkpoints hold beside the DiT
_BESIDE = (
  'first_stage_model.',
  'cond_stage_model.',
  'conditioner.',
  'text_encoders.',
  'vae.',
)


def bare_name(name: str) -> str:
  """A tensor's name without the prefixes of wrappers."""
  parts = [part for part in name.split('.') if part not in _WRAPPERS]
  while len(parts) > 1 and parts[0] in _OUTER:
    parts = parts[1:]
  return '.'.join(parts)


def bare(
  path: pathlib.Path, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
  """The tensors by their bare names. Raises UserError if two share one."""
  found = {bare_name(name): tensor for name, tensor in tensors.items()}
  if len(found) != len(tensors):
    raise UserError(
      f'{path} has several tensors of one name, if wrappers such as model. are '
      'left out of names; save one network alone'
    )
  return found


def of_prefix(
  path: pathlib.Path, tensors: Mapping[str, Tensor], network: str
) -> dict[str, Tensor]:
  """The tensors of one network, if names begin with those of networks.

  Raises UserError if `network` is named and no name begins with it.
  """
  if any(name.startswith('model.diffusion_model.') for name in tensors):
    tensors = {k: x for k, x in tensors.items() if not k.startswith(_BESIDE)}
  outer = collections.Counter(name.partition('.')[0] for name in tensors)
  most = max(outer.values(), default=0)
  known = [
    name
    for name in _NETWORKS
    # a few buffers of that name are no network
    if outer[name] and name not in _OUTER and 2 * outer[name] >= most
  ]
  if network and not outer[network]:
    raise UserError(
      f'{path} holds one network, not {network} among several; name no network'
    )
  if not known:
    return dict(tensors)
  prefix = f'{network or known[0]}.'
  return {
    name.removeprefix(prefix): x
    for name, x in tensors.items()
    if name.startswith(prefix)
  }


def choose(
  path: pathlib.Path, found: Mapping[str, Any], network: str
) -> dict[str, MappedTensor]:
  """The state dict of one network of a checkpoint.

  Raises UserError if it is not there, or is no dict of tensors.
  """
  networks = [name for name, x in found.items() if isinstance(x, Mapping)]
  if network and network not in networks:
    raise UserError(
      f'{path} has no network {network}; it has {", ".join(networks) or "one"}'
    )
  if networks:
    known = [name for name in _NETWORKS if name in networks]
    if not network and not known and len(networks) > 1:
      raise UserError(
        f'{path} holds the networks {", ".join(networks)}; name one'
      )
    network = network or (known or networks)[0]
    found = found[network]
    if any(isinstance(x, Mapping) for x in found.values()):
      return choose(path, found, '')
  for name, x in found.items():
    if not isinstance(x, MappedTensor):
      raise UserError(
        f'{path} holds {name}, a {type(x).__name__}, among its tensors; save '
        'a state dict'
      )
  return dict(found)
