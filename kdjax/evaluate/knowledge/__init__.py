"""How much of an image a layer still knows, and where: pure functions.

  cells.py      an image's grid of cells: sums, means, spreading back
  problem.py    the objective that all estimators share, and what they return
  jacobian.py   the closed form, from vector-Jacobian products (the default)
  descent.py    the objective minimised: `optimise`, and the authors' early stop
  concepts.py   visual concepts: cells that stand out from the background
  metrics.py    N_fg, N_bg, lambda, m-hat, D, rho and threshold-free companions

After Cheng, Rao, Chen, Zhang 2020, "Explaining Knowledge Distillation by
Quantifying the Knowledge", arXiv:2003.03622. docs/quantify.md has the formulas.
"""

from kdjax.evaluate.knowledge.cells import cell_means, cell_sums, spread
from kdjax.evaluate.knowledge.concepts import (
  background_entropy,
  concepts,
  foreground,
)
from kdjax.evaluate.knowledge.descent import (
  PUBLISHED,
  Descent,
  minimise,
  optimise,
  published,
  start,
  step,
)
from kdjax.evaluate.knowledge.jacobian import jacobian, squared_jacobian
from kdjax.evaluate.knowledge.metrics import (
  Concepts,
  Trail,
  counts,
  curves,
  extended,
  metrics,
  path_lengths,
)
from kdjax.evaluate.knowledge.problem import CEILING, Estimate, Problem, entropy

__all__ = [
  "CEILING",
  "PUBLISHED",
  "Concepts",
  "Descent",
  "Estimate",
  "Problem",
  "Trail",
  "background_entropy",
  "cell_means",
  "cell_sums",
  "concepts",
  "counts",
  "curves",
  "entropy",
  "extended",
  "foreground",
  "jacobian",
  "metrics",
  "minimise",
  "optimise",
  "path_lengths",
  "published",
  "spread",
  "start",
  "step",
  "squared_jacobian",
]
