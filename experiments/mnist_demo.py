"""A small student learns from a large teacher that has seen shifted digits.

python launch.py

"""

from kdjax.config import Controls, Distillation, Experiment, Student

# Every arm's rate, the temperature and the smoothing are those of mnist_tuning.
EXPERIMENT = Experiment(
  student=Student(learning_rate=3e-2),
  distillation=Distillation(temperature=8.0),
  controls=Controls(
    label_smoothing=0.2,
    baseline_learning_rate=3e-2,
    smoothing_learning_rate=3e-3,
    augmented_learning_rate=1e-2,
  ),
)
