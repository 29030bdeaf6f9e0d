"""A student of which four fifths become zero while it learns, with and without a teacher.

python launch.py --experiment=pruned
"""

from kdjax.config import (
  Compression,
  Controls,
  Distillation,
  Experiment,
  Run,
)

# Networks, rates and objective of mnist_demo.
EXPERIMENT = Experiment(
  distillation=Distillation(distillation="kd(temperature=8)"),
  controls=Controls(controls=False),
  compression=Compression(sparsity=0.8),
  run=Run(evaluate_every=4),
)
