"""Measuring trained networks: what they get right, how alike they are, what they cost."""

from kdjax.evaluate.bias import match_prior
from kdjax.evaluate.compare import Comparison, compare, holm
from kdjax.evaluate.cost import (
  flops,
  latency,
  parameters,
  peak_memory,
  time_rounds,
)
from kdjax.evaluate.measure import (
  measure,
  measure_task,
  measure_together,
  recall,
  score,
)
from kdjax.evaluate.predict import in_chunks, predict
from kdjax.evaluate.scores import (
  accuracy,
  agreement,
  calibration_error,
  negative_log_likelihood,
)

__all__ = [
  "Comparison",
  "accuracy",
  "agreement",
  "calibration_error",
  "compare",
  "flops",
  "holm",
  "in_chunks",
  "latency",
  "match_prior",
  "measure",
  "measure_task",
  "measure_together",
  "negative_log_likelihood",
  "parameters",
  "peak_memory",
  "predict",
  "recall",
  "score",
  "time_rounds",
]
