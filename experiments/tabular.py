"""Tables and numbers."""

from kdjax.runner.config import (
  Data,
  Experiment,
  Search,
  Student,
  Teacher,
  Teaching,
)

EXPERIMENTS = {
  "regression_diabetes": Experiment(
    data=Data(dataset="diabetes", validation=0.2),
    # Five networks: one alone errs more than its students.
    teaching=Teaching(teachers=5),
    teacher=Teacher(
      model="mlp(256)", epochs=20, batch_size=32, learning_rate=1e-3
    ),
    student=Student(model="mlp(8)", epochs=40, batch_size=32, seeds=10),
    search=Search(
      methods="logit_mse teacher_bounded rkd", rates=(3e-3, 1e-2), seeds=3
    ),
  ),
  "regression_images": Experiment(
    data=Data(dataset="rotated_digits", validation=0.2, images=400),
    teacher=Teacher(
      model="lenet(8, 16, hidden=64)", epochs=15, learning_rate=3e-3
    ),
    student=Student(model="mlp(64)", epochs=60, batch_size=50, seeds=5),
    search=Search(methods="logit_mse teacher_bounded rkd", rates=(1e-3, 3e-3)),
  ),
  "regression_intervals": Experiment(
    data=Data(
      dataset="rotated_digits",
      task="gaussian_regression",
      validation=0.2,
      images=400,
    ),
    teacher=Teacher(
      model="lenet(8, 16, hidden=64)", epochs=15, learning_rate=3e-3
    ),
    student=Student(model="mlp(64)", epochs=60, batch_size=50, seeds=5),
    search=Search(methods="gaussian_kl logit_mse", rates=(1e-3, 3e-3)),
  ),
}
