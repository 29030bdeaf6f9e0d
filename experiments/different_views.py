"""The teacher sees plain digits, the student shifted ones: no loss shown.

  python launch.py --experiment=different_views     (20 minutes on two CPU cores shared by a dozen jobs)

Function matching says that both must see the same view. Test error over 5 seeds:
different views 3.10 ± 0.24 %, the same views (plain distillation, the reference)
2.96 ± 0.26 (+0.14 points, p = 0.56), hard labels on the shifted digits 3.76 ± 0.65
(-0.66, p = 0.056), smoothed ones 3.16 ± 0.38. Shifts by two pixels change too
little to tell. Rates are those of mnist_tuning, found on plain digits.
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
    model="mlp(500, 500, dropout=0.5)", epochs=40, augment="shift(2)"
  ),
  student=Student(model="mlp(100)", augment="shift(2)", seeds=5),
  distillation=Distillation(
    distillation="kd(temperature=4):1", teacher_view="none"
  ),
  controls=Controls(reference="kd(temperature=4):1"),
)
