"""A network of middle size between teacher and student (TAKD).

  python launch.py --experiment=teacher_assistant

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
  teaching=Teaching(chain="mlp(100)"),
  controls=Controls(
    controls=False, baseline_learning_rate=1e-2, reference="kd(temperature=4)"
  ),
)
