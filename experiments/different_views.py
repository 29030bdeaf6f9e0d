"""Different views.

python launch.py --experiment=different_views
"""

from kdjax.config import Controls, Distillation, Experiment, Student, Teacher

EXPERIMENT = Experiment(
  teacher=Teacher(model="mlp(500, 500, dropout=0.5)", epochs=40),
  student=Student(model="mlp(100)", augment="shift(2)", seeds=5),
  distillation=Distillation(
    distillation="kd(temperature=4):1", teacher_view="none"
  ),
  controls=Controls(reference="kd(temperature=4):1"),
)
