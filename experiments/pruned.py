"""A student that loses four fifths of its weights while it learns, and its baseline.

  python launch.py --experiment=pruned          (some minutes on two busy CPU cores)

The largest 15,680 of 78,400 weights stay. The twin is pruned likewise, without a
teacher. Test error over 10 seeds: student 3.48 ± 0.33 %, twin 4.90 ± 0.46 (-1.42
points, p = 7e-6, better in 10 of 10); teacher 2.40. The packed file has 24.3 % of
the bytes. With --sparsity=0 they have 3.47 and 4.86; with --sparsity=0.95 3.74 ±
0.20 and 5.14 ± 0.25 (-1.40, p = 3e-7), 9.5 % of the bytes.
"""

from kdjax.runner.config import (
  Compression,
  Controls,
  Distillation,
  Experiment,
  Run,
  Teacher,
)

# Networks, rates and objective of mnist_demo.
EXPERIMENT = Experiment(
  teacher=Teacher(augment="shift(2)"),
  distillation=Distillation(distillation="kd(temperature=8)"),
  controls=Controls(controls=False),
  compression=Compression(sparsity=0.8),
  run=Run(evaluate_every=4),
)
