"""A weak teacher's answers alone train a network ten times its size.

  python launch.py --experiment=weak_to_strong

RESULT
"""

from kdjax.config import (
  Controls,
  Distillation,
  Experiment,
  Student,
  Teacher,
)

EXPERIMENT = Experiment(
  teacher=Teacher(
    model="mlp(10)", epochs=20, augment="none", learning_rate=3e-2
  ),
  student=Student(model="mlp(100)", epochs=20, seeds=5, learning_rate=3e-2),
  distillation=Distillation(distillation="kd(temperature=1):1"),
  controls=Controls(controls=False, reference="kd(temperature=4)"),
)
