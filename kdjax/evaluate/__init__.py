"""Measuring trained networks: what they get right, how alike they are, what they cost.

The package is also called: `kdjax.evaluate(network, variables, batches, task=task)`.
"""

import inspect
import sys
import types

from kdjax.evaluate.bias import match_prior
from kdjax.evaluate.compare import (
  Comparison,
  compare,
  compare_networks,
  holm,
)
from kdjax.evaluate.cost import (
  flops,
  latency,
  parameters,
  peak_memory,
  time_rounds,
)
from kdjax.evaluate.embeddings import (
  measure_embeddings,
  recall_at_k,
  spearman,
)
from kdjax.evaluate.exposure import kl_by_step
from kdjax.evaluate.groups import (
  balanced_accuracy,
  class_accuracy,
  group_scores,
  measure_classes,
  measure_groups,
  subtract_log_prior,
  worst_class_accuracy,
)
from kdjax.evaluate.labels import average_precision, measure_labels
from kdjax.evaluate.language import bits_per_byte, measure_text, top_mass
from kdjax.evaluate.measure import (
  measure,
  measure_task,
  measure_together,
  recall,
  score,
)
from kdjax.evaluate.numbers import LEVELS, half_widths, measure_numbers
from kdjax.evaluate.over_batches import evaluate as _evaluate
from kdjax.evaluate.pixels import (
  boundary_overlap,
  class_overlap,
  measure_pixels,
  pixel_divergence,
)
from kdjax.evaluate.predict import in_chunks, predict
from kdjax.evaluate.scores import (
  accuracy,
  agreement,
  calibration_error,
  negative_log_likelihood,
)
from kdjax.evaluate.texts import (
  distinct_n,
  exact_match,
  repetition,
  rouge_l,
)

__all__ = [
  "LEVELS",
  "Comparison",
  "accuracy",
  "agreement",
  "average_precision",
  "balanced_accuracy",
  "bits_per_byte",
  "boundary_overlap",
  "calibration_error",
  "class_accuracy",
  "class_overlap",
  "compare",
  "compare_networks",
  "distinct_n",
  "exact_match",
  "flops",
  "group_scores",
  "half_widths",
  "holm",
  "in_chunks",
  "kl_by_step",
  "latency",
  "match_prior",
  "measure",
  "measure_classes",
  "measure_embeddings",
  "measure_groups",
  "measure_labels",
  "measure_numbers",
  "measure_pixels",
  "measure_task",
  "measure_text",
  "measure_together",
  "negative_log_likelihood",
  "parameters",
  "peak_memory",
  "pixel_divergence",
  "predict",
  "recall",
  "recall_at_k",
  "repetition",
  "rouge_l",
  "score",
  "spearman",
  "subtract_log_prior",
  "time_rounds",
  "top_mass",
  "worst_class_accuracy",
]


class _Package(types.ModuleType):
  """A package that is a function: it has the name of what it is there for."""

  __call__ = staticmethod(_evaluate)


# An import sets the package's own name in `kdjax`, so that no function could
# stand there; as for any other public name, the package says what it offers.
sys.modules[__name__].__class__ = _Package
__signature__ = inspect.signature(_evaluate)
__doc__ = f"{__doc__}\n{_evaluate.__doc__}"
evaluate = sys.modules[__name__]
