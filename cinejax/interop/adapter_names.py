"""The names of adapters' tensors: which layer, which part, which alpha.

A name is that of a layer and that of a part. Layers have Wan's names, those of
diffusers, or kohya's: `lora_unet_` and the name with `_` for `.`. Parts are

  lora_A, lora_down, lora.down     A of a LoRA
  lora_B, lora_up, lora.up         B of it
  lora_B.bias                      a bias that its output has
  hada_w1_a, … hada_w2_b           LoHa
  lokr_w1, lokr_w1_a, … lokr_w2_b  LoKr
  dora_scale, lora_magnitude_vector  m of a DoRA
  diff, diff_b, diff_m             what is added to the weight, the bias and the
                                   modulation (LightX2V, ComfyUI)
  alpha                            the numerator of the scale
  lora_mid, hada_t1, lokr_t2       Tucker's third matrix, which is refused

with `.weight`, and in peft's own files the adapter's name, behind them.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

from cinejax.interop import names

_END = r'(?:\.(?!weight$|bias$)[^.]+)?(?:\.weight)?'  # `.default.weight`, say
_OLD = r'[._]lora(?:_linear_layer)?'  # of diffusers until 2023
_PARTS = {
  kind: re.compile(rf'(?P<layer>.+){pattern}$')
  for kind, pattern in {
    'down': rf'(?:\.lora_(?:A|down){_END}|{_OLD}\.down\.weight)',
    'up': rf'(?:\.lora_(?:B|up){_END}|{_OLD}\.up\.weight)',
    'up_bias': r'\.lora_(?:B|up)(?:\.(?!bias$)[^.]+)?\.bias',
    **{
      part: rf'\.{part}{_END}'
      for part in (
        *(f'hada_w{n}_{side}' for n in (1, 2) for side in 'ab'),
        *(f'lokr_w{n}_{side}' for n in (1, 2) for side in 'ab'),
        'lokr_w1',
        'lokr_w2',
      )
    },
    'magnitude': rf'\.(?:dora_scale|lora_magnitude_vector){_END}',
    'diff': r'\.(?:diff|w_norm)',
    'diff_b': r'\.(?:diff_b|b_norm)',
    'diff_m': r'\.diff_m',
    'alpha': r'\.alpha',
    'tucker': rf'\.(?:lora_mid|hada_t[12]|lokr_t2){_END}',
  }.items()
}
_FLAT = re.compile(r'^(?:lora_unet|lora_transformer|lycoris)_+')
_NUMBER = re.compile(r'(?<=^blocks\.)\d+|(?<=^blocks_)\d+')


def split(name: str) -> tuple[str, str] | None:
  """The layer and the part that a tensor's name names; None: neither."""
  for part, pattern in _PARTS.items():
    if found := pattern.fullmatch(name):
      return found['layer'], part
  return None


def target(layer: str, kind: str) -> tuple[names.Rule, int] | None:
  """The rule of the leaf that an adapter of `layer` changes, and the layer.

  `kind` is weight, bias or modulation. None: no DiT of Wan 2.1 has it.
  """
  layer = _FLAT.sub('', layer)
  numbers, module = _NUMBER.findall(layer), _NUMBER.sub('{}', layer)
  rule = _rules().get((module, kind))
  return rule and (rule, int(numbers[0]) if numbers else 0)


@functools.cache
def _rules() -> dict[tuple[str, str], names.Rule]:
  found = {}
  for layout in ('wan', 'diffusers'):
    for rule in names.rules(layout):
      module, _, kind = rule.theirs.rpartition('.')
      kind = kind if kind in ('weight', 'bias') else 'modulation'
      found[module, kind] = rule
      found[module.replace('.', '_'), kind] = rule
  return found


def setting(config: Mapping[str, Any], layer: str, name: str) -> Any:
  """`alpha` or `r` of a layer in a config of peft; None: it is not there."""
  patterns = config.get('alpha_pattern' if name == 'alpha' else 'rank_pattern')
  for pattern, value in (patterns or {}).items():
    if re.fullmatch(rf'(.*\.)?({pattern})', layer):
      return value
  return config.get(f'lora_{name}', config.get(name))
