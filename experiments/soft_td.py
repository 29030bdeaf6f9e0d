"""Soft-target distillation in rounds, where few images have labels."""

from kdjax.config import (
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
