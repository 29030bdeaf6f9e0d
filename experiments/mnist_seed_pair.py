"""The classic tiny student: 784-1200-1200-10 teaches 784-20-10, T = 5, soft targets only.

python launch.py --experiment=mnist_seed_pair
"""

from kdjax.config import Distillation, Experiment, Student

EXPERIMENT = Experiment(
  student=Student(model="mlp(20)"),
  distillation=Distillation(distillation="soft", temperature=5.0),
)
