"""A generalist with three specialists, Hinton's section 5, teaches a small student.

  python launch.py --experiment=specialists

Test error over 5 seeds: student 5.96 ± 0.49 %, twin on labels 6.34 ± 0.23 (-0.38
points, p = 0.08), plain distillation from the generalist 6.06 ± 0.79 (-0.10, p =
0.51): no gain shown. The generalist's 4.0 become 3.3 with its specialists, of which
two have a single class: on ten well-known classes the covariance separates the easy
ones. A minute or two of CPU. Rates: the search `launch.py sweep --experiment=ensemble --validation=0.2
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
  teaching=Teaching(specialists=3),
  controls=Controls(
    label_smoothing=0.1,
    baseline_learning_rate=1e-2,
    smoothing_learning_rate=1e-2,
    augmented_learning_rate=1e-2,
    reference="kd(temperature=4)",
  ),
)
