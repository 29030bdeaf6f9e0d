"""Soft-target distillation in rounds, where few examples have labels."""

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
    model="mlp(200, 200, dropout=0.5)", epochs=150, augment="shift(2)"
  ),
  student=Student(
    model="mlp(50)", epochs=15, batch_size=256, seeds=5, augment="shift(2)"
  ),
  distillation=Distillation(temperature=2.0),
  search=Search(rates=(3e-3, 1e-2, 3e-2), seeds=2),
  soft_td=SoftTD(sources=3, rounds=4, beta=0.5),
)
