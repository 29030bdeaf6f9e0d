"""A generalist with three specialists, Hinton's section 5, teaches a small student.

  python launch.py --experiment=specialists

RESULT
"""

from kdjax.config import (
  Controls,
  Distillation,
  Experiment,
  Student,
  Teacher,
  Teaching,
)

EXPERIMENT = Experiment(
  teacher=Teacher(model="mlp(300, 300, dropout=0.5)", epochs=20),
  student=Student(model="mlp(30)", epochs=20, seeds=5, learning_rate=3e-2),
  distillation=Distillation(distillation="kd(temperature=4)"),
  teaching=Teaching(specialists=3),
  controls=Controls(
    controls=False, baseline_learning_rate=1e-2, reference="kd(temperature=4)"
  ),
)
