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
  "TeacherCache": "kdjax.data.teacher_cache.store",
  "check": "kdjax.train.check",
  "describe": "kdjax.taps.network",
  "distill": "kdjax.train.distill",
  "ensemble": "kdjax.train.ensemble",
  "evaluate": "kdjax.evaluate",
  "export": "kdjax.models.export.user_export",
  "from_apply": "kdjax.taps.network",
  "from_linen": "kdjax.taps.network",
  "from_nnx": "kdjax.taps.network",
  "generate": "kdjax.models.generation.generate",
  "jit": "kdjax.train.devices.mapped",
  "jsonl": "kdjax.train.callbacks",
  "live_teacher": "kdjax.train.teacher",
  "make_method": "kdjax.methods._make_method",
  "make_step": "kdjax.train.make_step",
  "objective": "kdjax.train.objective",
  "pmap": "kdjax.train.devices.mapped",
  "report": "kdjax.runner.report.user_report",
  "served_teacher": "kdjax.train.served.teacher",
  "sharded": "kdjax.train.devices.sharded",
  "stored_teacher": "kdjax.core.teacher",
  "tensorboard": "kdjax.train.callbacks",
  "write_teacher_cache": "kdjax.data.teacher_cache.write",
}

__all__ = [*_HOMES]

# The packages that users name: `kdjax.tasks.classification(10)`.
_ROOMS = {
  "data": "kdjax.data",
  "losses": "kdjax.losses",
  "methods": "kdjax.methods",
  "models": "kdjax.models",
  "pretrained": "kdjax.models.pretrained",
  "taps": "kdjax.taps",
  "tasks": "kdjax.tasks",
}

moved.install()


def __getattr__(name: str) -> object:
  if name in _ROOMS:
    return importlib.import_module(_ROOMS[name])
  if name not in _HOMES:
    raise AttributeError(f"module 'kdjax' has no attribute {name!r}")
  return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *_HOMES, *_ROOMS})
