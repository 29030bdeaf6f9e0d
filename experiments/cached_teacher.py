"""A student learns from what a teacher said once, of four views of each image."""

from kdjax.config import Controls, Distillation, Experiment, Student

# The best rate of each arm among 0.003, 0.01 and 0.03 on held-out images:
#   launch.py cache --experiment=cached_teacher --validation=0.2 --workdir=DIR
#   launch.py sweep --experiment=cached_teacher --validation=0.2 --seeds=3
#     --teacher_cache=DIR and 3e-3,1e-2,3e-2 for the three --...learning_rate
EXPERIMENT = Experiment(
  student=Student(augment="shift(2)", views=4, seeds=5, learning_rate=3e-2),
  distillation=Distillation(distillation="kd(temperature=8)"),
  controls=Controls(baseline_learning_rate=1e-2, smoothing_learning_rate=3e-3),
)
