"""A network of middle size between teacher and student (TAKD).

  python launch.py --experiment=teacher_assistant

Test error over 5 seeds: student 6.24 ± 0.18 %, twin on labels 6.34 ± 0.23 (-0.10
points, p = 0.14), plain distillation without the assistant 6.06 ± 0.79 (+0.18, p =
0.57): no gain. Teacher 4.0, assistant 4.2. About a minute of CPU. Rates: the search `launch.py sweep --experiment=ensemble --validation=0.2
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
  teaching=Teaching(chain="mlp(100)"),
  controls=Controls(
    label_smoothing=0.1,
    baseline_learning_rate=1e-2,
    smoothing_learning_rate=1e-2,
    augmented_learning_rate=1e-2,
    reference="kd(temperature=4)",
  ),
)
