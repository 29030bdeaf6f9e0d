"""A student learns from what a teacher said once, of four views of each image."""

from kdjax.config import Distillation, Experiment, Student

EXPERIMENT = Experiment(
  student=Student(augment="shift(2)", views=4, seeds=5),
  distillation=Distillation(distillation="kd(temperature=8)"),
)
