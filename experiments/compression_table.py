"""What it costs to make the student small, and what is left of it."""

from kdjax.config import (
  Compression,
  Distillation,
  Experiment,
  Student,
)

EXPERIMENT = Experiment(
  student=Student(seeds=5),
  distillation=Distillation(distillation="kd(temperature=8)"),
  compression=Compression(quantization="w4a8", sparsity=0.8),
)
