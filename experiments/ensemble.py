"""Five teachers instead of one: does their mean teach a small student better?

  python launch.py --experiment=ensemble

Test error over 5 seeds: student 6.22 ± 0.62 %, twin on labels 6.34 ± 0.23 (-0.12
points, p = 0.55), plain distillation from the first teacher 5.98 ± 0.69 (+0.24, p =
0.08): no gain for this student, though the teachers' 4.00 ± 0.19 become 3.6 together.
Two minutes of CPU. Rates: the search `launch.py sweep --experiment=ensemble --validation=0.2
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
  teaching=Teaching(teachers=5),
  controls=Controls(
    label_smoothing=0.1,
    baseline_learning_rate=1e-2,
    smoothing_learning_rate=1e-2,
    augmented_learning_rate=1e-2,
    reference="kd(temperature=4)",
  ),
)
