"""Learning rate, temperature and smoothing of every arm, on held-out images.

  python launch.py sweep --experiment=mnist_tuning

800 of the 4,000 training images are held out from teacher and student alike,
and no test image is looked at. Every arm has the same four tries for its rate.
`mnist_demo` uses what this finds.
"""

from kdjax.config import Controls, Data, Distillation, Experiment, Student

EXPERIMENT = Experiment(
  data=Data(validation=0.2),
  student=Student(learning_rate=(3e-3, 1e-2, 3e-2, 1e-1), seeds=5),
  distillation=Distillation(
    temperature=(2.0, 4.0, 8.0, 16.0), hard_weight=(0.0, 0.1)
  ),
  controls=Controls(label_smoothing=(0.05, 0.1, 0.2)),
)
