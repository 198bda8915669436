"""What a layer keeps for the backward pass, and what is computed again.

  none       keeps all that the gradient reads
  dots       keeps the results of matrix products and of attention
  attention  keeps the results of attention
  full       keeps only the input of the layer

Each policy keeps less than the one before it and computes more again. Beside
its result, attention keeps the log-sum-exp of every row of scores, from which
the backward pass recomputes probabilities without the forward pass (Dao et al.
2022, section 3.1). Our own attention and JAX's kernels for TPUs give both the
checkpoint name NAME. JAX's cuDNN attention gives its residuals no names, so
they are recognized by the primitive that computes them.
"""

from typing import Any

import jax

NAME = 'attention'
_CUDNN = 'dot_product_attention_fwd_wrapper'  # returns out, log-sum-exp


def _computed_by_cudnn(primitive: Any, *_: Any, **__: Any) -> bool:
  return primitive.name == _CUDNN


_both = jax.checkpoint_policies.save_from_both_policies
_attention = _both(
  jax.checkpoint_policies.save_only_these_names(NAME), _computed_by_cudnn
)
# by config.dit.remat; `none` needs no policy
POLICIES = {
  'dots': _both(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable, _attention
  ),
  'attention': _attention,
  'full': jax.checkpoint_policies.nothing_saveable,
}
