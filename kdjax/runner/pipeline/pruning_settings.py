"""How a training prunes, from the settings."""

import optax

from kdjax.runner.config import Compression
from kdjax.train import pruning


def pruning_of(
  settings: Compression, steps: int
) -> optax.GradientTransformation | None:
  """Makes the last link of the optimiser; None where nothing is pruned."""
  if not settings.sparsity:
    return None
  # The last step's masks are in what is measured; there is none behind it.
  end = min(round(settings.pruning_end * steps), steps - 1)
  return pruning.magnitude_pruning(
    pruning.Pruning(
      sparsity=settings.sparsity,
      scope=settings.pruning_scope,
      structure=settings.pruning_structure,
      begin=min(round(settings.pruning_begin * steps), end),
      end=end,
      every=settings.pruning_every,
    )
  )
