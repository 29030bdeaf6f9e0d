"""Two peers that teach each other, against one alone and against plain kd.

python launch.py --experiment=mutual
"""

from kdjax.config import Controls, Distillation, Experiment, Student, Teacher

EXPERIMENT = Experiment(
  teacher=Teacher(
    model="mlp(64)", epochs=12, learning_rate=3e-2, augment="none"
  ),
  student=Student(model="mlp(64)", epochs=12, learning_rate=1e-2, seeds=5),
  distillation=Distillation(
    distillation="ce:1 + kd(temperature=1):1", regime="mutual(peers=2)"
  ),
  controls=Controls(
    controls=False,
    baseline_learning_rate=3e-2,
    reference="kd(temperature=4)",
    reference_learning_rate=3e-2,
  ),
)
