"""A student with 4-bit weights, four fifths of them zero, and its twin.

  python launch.py --experiment=quantized_pruned (some minutes on two busy CPU cores)

Both at once, quantized and pruned. QP
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
  compression=Compression(quantization="w4a8", sparsity=0.8),
  run=Run(evaluate_every=4),
)
