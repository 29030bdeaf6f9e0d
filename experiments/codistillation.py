"""Two peers that hear of each other once an epoch, against hard labels and kd.

  python launch.py --experiment=codistillation    (some minutes on two busy CPU cores)

On one device; `--host_devices=2` gives each peer one, with the same result up to
rounding. The teacher of plain kd has the architecture of a peer, its images and
number of steps, so that no arm knows more than another. The student's rate is the
best of 0.003, 0.01 and 0.03 on 800 held-out images, 3 seeds:

  python launch.py sweep --experiment=codistillation --validation=0.2 --seeds=3
    --learning_rate=0.003,0.01,0.03

Hard labels and plain kd are those of `mutual`, with the rates of its search.

Test error over 5 seeds: peer 0 5.16 %, hard labels 5.42 (-0.26 points, p = 0.32),
plain kd 5.34 (-0.18, p = 0.50), smoothed labels 5.06; the mean of both peers' answers 4.92. No gain
shown for one network.
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
  student=Student(model="mlp(64)", epochs=12, learning_rate=3e-2, seeds=5),
  distillation=Distillation(
    distillation="ce:1 + kd(temperature=1):after(0.1)",
    regime="codistillation(peers=2, every=32)",
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
