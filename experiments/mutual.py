"""Two peers that teach each other, against hard labels and plain kd.

  python launch.py --experiment=mutual          (some minutes on two busy CPU cores)

The teacher of plain kd has the architecture of a peer, its images and number of
steps, so that no arm knows more than another. Each arm's rate is the best of
0.003, 0.01 and 0.03 on 800 held-out images, 3 seeds:

  python launch.py sweep --experiment=mutual --validation=0.2 --seeds=3
    --learning_rate=0.003,0.01,0.03 --baseline_learning_rate=0.003,0.01,0.03
    --reference_learning_rate=0.003,0.01,0.03

Test error over 5 seeds: peer 0 5.82 %, hard labels 5.42 (+0.40 points, p = 0.16),
plain kd 5.34 (+0.48, p = 0.002), smoothed labels 5.06; the mean of both peers'
answers 5.54. No gain, at
the cost of two trainings.
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
    distillation="ce:1 + kd(temperature=1):1", regime="mutual(peers=2)"
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
