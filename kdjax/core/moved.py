"""Modules that have moved still answer to their old names, as the same modules."""

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

MOVED = {
  "kdjax.errors": "kdjax.core.errors",
  "kdjax.method": "kdjax.core.method",
  "kdjax.models.weights": "kdjax.models.pretrained.read",
  "kdjax.registry": "kdjax.core.registry",
  "kdjax.schedule": "kdjax.core.schedule",
  "kdjax.spec": "kdjax.core.spec",
}


class _Finder(MetaPathFinder, Loader):
  """Finds a module under its old name."""

  def find_spec(self, fullname, path=None, target=None):
    return ModuleSpec(fullname, self) if fullname in MOVED else None

  def exec_module(self, module):
    name = module.__name__
    # The import system returns what stands here when it is done.
    sys.modules[name] = importlib.import_module(MOVED[name])


def install() -> None:
  """Lets imports find the moved modules, behind all others."""
  if not any(isinstance(one, _Finder) for one in sys.meta_path):
    sys.meta_path.append(_Finder())
