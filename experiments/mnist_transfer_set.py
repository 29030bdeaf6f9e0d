"""100 labels and 3,900 images without: the teacher's soft targets stand in for labels.

  python launch.py --experiment=mnist_transfer_set

The teacher has been trained on all 4,000 labels. The twin and the controls
learn from the 100 labelled images alone, for as many steps as the student.
"""

from kdjax.config import Data, Distillation, Experiment

EXPERIMENT = Experiment(
  data=Data(labels=100),
  distillation=Distillation(distillation="soft"),
)
