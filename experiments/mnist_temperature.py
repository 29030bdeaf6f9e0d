"""Temperature times hard weight: which to choose, from one compiled program.

  python launch.py sweep --experiment=mnist_temperature (three minutes on two cores)

The cells are scored on 800 held-out training images, so that the recommendation
may be used on the test set.

Error on the held-out images over 5 seeds: 5.8 % at T = 1, 4.3 to 4.6 % at T = 8
and T = 20 for any hard weight up to 0.5, 4.8 % and more at hard weight 0.9; twin
6.88 ± 0.47 %. Recommended: T = 8, hard weight 0.5. Neighbours differ by less
than their spread: take T between 4 and 20 and do not worry.
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
  student=Student(seeds=5, learning_rate=1e-2),
  distillation=Distillation(
    temperature=(1.0, 2.0, 4.0, 8.0, 20.0), hard_weight=(0.0, 0.1, 0.5, 0.9)
  ),
  controls=Controls(controls=False),
)
