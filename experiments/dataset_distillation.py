"""A few learned images teach a network what takes thousands of real ones.

python launch.py synthesise
"""

from kdjax.config import Experiment, Student

EXPERIMENT = Experiment(
  student=Student(model="mlp(64)", epochs=10, batch_size=64, seeds=5),
)
