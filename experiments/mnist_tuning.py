"""Learning rate, temperature and smoothing of every arm, on held-out images.

  python launch.py sweep --experiment=mnist_tuning     (six minutes on two CPU cores)

800 of the 4,000 training images are held out from teacher and student alike,
and no test image is looked at. Every arm has the same four tries for its rate.
`mnist_demo` uses what this finds.

Error on the held-out images over 5 seeds at each arm's best: student 4.27 ±
0.14 % (rate 0.03, T = 16, hard weight 0; T = 8 with hard weight 0.1 gives 4.28),
twin 6.68 ± 0.43 (0.03), smoothed labels 5.45 ± 0.23 (0.003, smoothing 0.2), the
teacher's views 3.10 ± 0.46 (0.01).
"""

from kdjax.runner.config import (
  Controls,
  Data,
  Distillation,
  Experiment,
  Student,
  Teacher,
)

EXPERIMENT = Experiment(
  data=Data(validation=0.2),
  teacher=Teacher(augment="shift(2)"),
  student=Student(learning_rate=(3e-3, 1e-2, 3e-2, 1e-1), seeds=5),
  distillation=Distillation(
    temperature=(2.0, 4.0, 8.0, 16.0), hard_weight=(0.0, 0.1)
  ),
  controls=Controls(label_smoothing=(0.05, 0.1, 0.2)),
)
