"""Temperature times hard weight: which to choose, from one compiled program.

  python launch.py sweep --experiment=mnist_temperature

The cells are scored on 800 held-out training images, so that the recommendation
may be used on the test set.
"""

from kdjax.config import Controls, Data, Distillation, Experiment, Student

EXPERIMENT = Experiment(
  data=Data(validation=0.2),
  student=Student(seeds=5),
  distillation=Distillation(
    temperature=(1.0, 2.0, 4.0, 8.0, 20.0), hard_weight=(0.0, 0.1, 0.5, 0.9)
  ),
  controls=Controls(controls=False),
)
