"""The student never sees a digit: patches of two photographs carry the teacher over.

python launch.py --experiment=out_of_domain_noise
"""

from kdjax.config import (
  Controls,
  Data,
  Distillation,
  Experiment,
  Student,
  Teacher,
)

EXPERIMENT = Experiment(
  data=Data(transfer_dataset="noise_images"),
  teacher=Teacher(model="mlp(500, 500, dropout=0.5)", epochs=40),
  student=Student(model="mlp(100)", seeds=5),
  distillation=Distillation(distillation="kd(temperature=4):1"),
  controls=Controls(reference="kd(temperature=4):1"),
)
