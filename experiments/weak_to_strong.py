"""A weak teacher's answers alone train a network ten times its size.

  python launch.py --experiment=weak_to_strong

Test error over 5 seeds: the strong student 6.72 ± 0.41 %, its weak teacher 10.90;
the strong twin on true labels 4.58 ± 0.50 (+2.14 points, p = 0.002). Distilled with
T = 4 and a tenth of labels it copies the teacher better, and errs as it does: 10.06
± 0.15. The teacher saw the labels of the very images on which it teaches. Under a
minute of CPU. Rates are those that mnist_tuning finds for the student's network.
"""

from kdjax.runner.config import (
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
  controls=Controls(
    label_smoothing=0.1,
    smoothing_learning_rate=1e-2,
    reference="kd(temperature=4)",
  ),
)
