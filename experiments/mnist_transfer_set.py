"""100 labels and 3,900 images without: the teacher's soft targets stand in for labels.

  python launch.py --experiment=mnist_transfer_set     (two minutes on two CPU cores)

The teacher has been trained on all 4,000 labels. The twin and the controls
learn from the 100 labelled images alone, for as many steps as the student.

Test error over 10 seeds: student 3.56 ± 0.44 %, its baseline 24.45 ± 0.73 (-20.9
points, p < 1e-12), the baseline that sees the 100 images shifted 15.76 ± 0.95.
"""

from kdjax.runner.config import Data, Distillation, Experiment, Student, Teacher

EXPERIMENT = Experiment(
  data=Data(labels=100),
  teacher=Teacher(augment="shift(2)"),
  student=Student(learning_rate=1e-2),
  distillation=Distillation(distillation="soft"),
)
