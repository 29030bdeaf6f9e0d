"""A student taught by the average of its own weights, against labels and kd.

  python launch.py --experiment=mean_teacher          (some minutes on two busy CPU cores)

The teacher of plain kd has the student's architecture, its images and number of
steps, so that no arm knows more than another. The student's rate is the best of
0.003, 0.01 and 0.03 on 800 held-out images, 3 seeds:

  python launch.py sweep --experiment=mean_teacher --validation=0.2 --seeds=3
    --learning_rate=0.003,0.01,0.03

Hard labels and plain kd are those of `mutual`, with the rates of its search.
The decay, 0.99, is not searched: an average over some 100 of the 384 steps. Test
error over 5 seeds: the twin 5.26 %, hard labels 5.42 (-0.16 points, p = 0.48), plain kd 5.34
(-0.08, p = 0.24), smoothed labels 5.06. No gain shown.
"""

from kdjax.runner.config import (
  Controls,
  Distillation,
  Experiment,
  Run,
  Student,
  Teacher,
)

EXPERIMENT = Experiment(
  teacher=Teacher(
    model="mlp(64)", epochs=12, learning_rate=3e-2, augment="none"
  ),
  student=Student(model="mlp(64)", epochs=12, learning_rate=1e-2, seeds=5),
  distillation=Distillation(
    distillation="ce:1 + kd(temperature=1):1", regime="mean_teacher(decay=0.99)"
  ),
  controls=Controls(
    label_smoothing=0.2,
    smoothing_learning_rate=1e-2,
    baseline_learning_rate=3e-2,
    reference="kd(temperature=4)",
    reference_learning_rate=3e-2,
  ),
  run=Run(evaluate_every=4),
)
