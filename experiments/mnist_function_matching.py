"""Function matching.

python launch.py --experiment=mnist_function_matching
"""

from kdjax.config import Controls, Distillation, Experiment, Student, Teacher

EXPERIMENT = Experiment(
  teacher=Teacher(model="mlp(500, 500, dropout=0.5)", epochs=40),
  student=Student(
    model="mlp(100)",
    epochs=80,
    augment="shift(2) + mixup",
    seeds=5,
  ),
  distillation=Distillation(distillation="kd(temperature=4):1"),
  controls=Controls(reference="kd(temperature=4):1", reference_augment="none"),
)
