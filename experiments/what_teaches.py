"""What teaches.

python launch.py --experiment=what_teaches
"""

from kdjax.config import Controls, Distillation, Experiment, Student

EXPERIMENT = Experiment(
  student=Student(seeds=5),
  distillation=Distillation(distillation="kd(temperature=8)"),
  controls=Controls(
    label_smoothing=0.2,
    reference="kd(temperature=4)",
    shuffled_teacher=True,
    uniform_teacher=True,
    noise_teacher=True,
    matched_smoothing=True,
  ),
)
