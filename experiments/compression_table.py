"""What each way to a small student costs, and what it leaves of the accuracy.

  python launch.py compress

The demo's teacher and student; the student once more in int8 after training, in
4-bit weights and 8-bit activations after training and while it learns, and with
80 % of its weights pruned while it learns; each with a baseline that learns from the
labels alone. Figures: experiments/README.md.
"""

from kdjax.runner.config import (
  Compression,
  Distillation,
  Experiment,
  Student,
  Teacher,
)

EXPERIMENT = Experiment(
  teacher=Teacher(augment="shift(2)"),
  student=Student(seeds=5),
  distillation=Distillation(distillation="kd(temperature=8)"),
  compression=Compression(quantization="w4a8", sparsity=0.8),
)
