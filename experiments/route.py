"""Four moments of the teacher's training as a curriculum (route-constrained).

  python launch.py --experiment=route

Test error over 5 seeds: student 6.56 ± 0.38 %, twin on labels 6.34 ± 0.23 (+0.22
points, p = 0.17), plain distillation from the last moment 6.06 ± 0.79 (+0.50, p =
0.19): no gain. The moments themselves: 8.3, 4.8, 4.1, 4.0. About a minute of CPU.
Rates: the search `launch.py sweep --experiment=ensemble --validation=0.2
--learning_rate=0.003,0.01,0.03`, shared by all experiments with this student.
"""

from kdjax.runner.config import (
  Controls,
  Distillation,
  Experiment,
  Student,
  Teacher,
  Teaching,
)

EXPERIMENT = Experiment(
  teacher=Teacher(
    model="mlp(300, 300, dropout=0.5)", epochs=20, augment="shift(2)"
  ),
  student=Student(model="mlp(30)", epochs=20, seeds=5, learning_rate=3e-2),
  distillation=Distillation(distillation="kd(temperature=4)"),
  teaching=Teaching(route=4),
  controls=Controls(
    label_smoothing=0.1,
    baseline_learning_rate=1e-2,
    smoothing_learning_rate=1e-2,
    augmented_learning_rate=1e-2,
    reference="kd(temperature=4)",
  ),
)
