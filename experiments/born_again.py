"""Three generations of one network, each the next one's teacher (born again).

  python launch.py --experiment=born_again

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
  teacher=Teacher(
    model="mlp(100)", epochs=20, learning_rate=3e-2, augment="none"
  ),
  student=Student(model="mlp(100)", epochs=20, seeds=5, learning_rate=3e-2),
  distillation=Distillation(distillation="kd(temperature=4)"),
  teaching=Teaching(generations=3),
  controls=Controls(controls=False, reference="kd(temperature=4)"),
)
