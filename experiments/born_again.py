"""Three generations of one network, each the next one's teacher (born again).

  python launch.py --experiment=born_again

Test error over 5 seeds: third generation 4.80 ± 0.24 %, twin on labels 4.58 ± 0.50
(+0.22 points, p = 0.21), first generation (plain distillation from the teacher)
4.16 ± 0.21 (+0.64, p = 0.005): here later generations are worse. Teacher 4.6, the
single networks between 5.0 and 5.2. About a minute of CPU. Rates are those that
mnist_tuning finds for this network.
"""

from kdjax.runner.config import (
  Controls,
  Distillation,
  Experiment,
  Student,
  Teacher,
  Teaching,
)

EXPERIMENT = Experiment(
  teacher=Teacher(
    model="mlp(100)", epochs=20, learning_rate=3e-2, augment="none"
  ),
  student=Student(model="mlp(100)", epochs=20, seeds=5, learning_rate=3e-2),
  distillation=Distillation(distillation="kd(temperature=4)"),
  teaching=Teaching(generations=3),
  controls=Controls(
    label_smoothing=0.1,
    smoothing_learning_rate=1e-2,
    reference="kd(temperature=4)",
  ),
)
