"""Soft-target distillation in rounds, where few images have labels.

  python launch.py soft_td --experiment=soft_td      (two minutes of CPU time)

150 of 3,200 images have labels. Three sources of 200,000 parameters learn from
these, shifted; students of 90,000 learn from the sources' soft labels of all
3,200 and become sources. 800 more labelled images choose each arm's rate (the
same two tries) and the number of rounds; the controls train for as many steps as
all rounds together. Five seeds, each with sources of its own.

What it gave: nothing that one round does not. Test error 13.06 ± 0.71 % against
12.74 ± 0.50 for one round of as many steps (p = 0.22), 12.68 ± 0.45 for plain
distillation from one source (p = 0.18), 12.40 ± 0.51 for hard labels (p = 0.17)
and 10.62 ± 0.68 for smoothed labels, which beat the student (p = 0.004). Four of
five chains stop after their second round. Over three rounds the soft labels'
error falls from 13.11 to 12.81 %. The sources agree so well that weighing them
does nothing: three of them are worth 3.00. What all soft labels give is
likelihood: 0.40 nats, against 0.56 for hard and 0.50 for smoothed labels.
"""

from kdjax.runner.config import (
  Data,
  Distillation,
  Experiment,
  Search,
  SoftTD,
  Student,
  Teacher,
)

EXPERIMENT = Experiment(
  data=Data(validation=0.2, labels=150),
  teacher=Teacher(
    model="mlp(200, 200, dropout=0.3)",
    augment="shift(2)",
    epochs=150,
    batch_size=50,
  ),
  # Soft labels are made on the images as they are: shifted ones are news.
  student=Student(
    model="mlp(100, 100)", augment="shift(2)", epochs=15, seeds=5
  ),
  distillation=Distillation(temperature=2.0),
  search=Search(rates=(3e-3, 1e-2)),
  soft_td=SoftTD(sources=3, rounds=4, beta=0.5),
)
