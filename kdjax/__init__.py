"""Knowledge distillation for JAX and Flax.

`kdjax.losses` holds the loss functions and needs jax alone. The names below are
loaded when they are used; the other packages (`kdjax.models`, `kdjax.data`,
`kdjax.train`, ...) are imported by name. So importing the package costs nothing.
"""

import importlib

from kdjax.core import moved

__version__ = "0.1.0"

# The public names, and where they are defined.
_HOMES = {
  "Checkpoints": "kdjax.train.fault_tolerance.user_checkpoints",
  "describe": "kdjax.taps.network",
  "evaluate": "kdjax.evaluate",
  "from_apply": "kdjax.taps.network",
  "from_linen": "kdjax.taps.network",
  "from_nnx": "kdjax.taps.network",
  "jsonl": "kdjax.train.callbacks",
  "tensorboard": "kdjax.train.callbacks",
}

__all__ = [*_HOMES]

moved.install()


def __getattr__(name: str) -> object:
  if name not in _HOMES:
    raise AttributeError(f"module 'kdjax' has no attribute {name!r}")
  return getattr(importlib.import_module(_HOMES[name]), name)
