"""A student taught by the average of its own weights, against hard labels and kd.

python launch.py --experiment=mean_teacher
"""

from kdjax.config import Controls, Distillation, Experiment, Student, Teacher

EXPERIMENT = Experiment(
  teacher=Teacher(
    model="mlp(64)", epochs=12, learning_rate=3e-2, augment="none"
  ),
  student=Student(model="mlp(64)", epochs=12, learning_rate=1e-2, seeds=5),
  distillation=Distillation(
    distillation="ce:1 + kd(temperature=1):1", regime="mean_teacher(decay=0.99)"
  ),
  controls=Controls(
    controls=False,
    baseline_learning_rate=3e-2,
    reference="kd(temperature=4)",
    reference_learning_rate=3e-2,
  ),
)
