"""Rare classes: what distillation, sampling, weights and adjusted logits do for them.

long_tail: Labels, kd, adjusted labels and adjusted kd on a long tail of digits.

  python launch.py compare --experiment=long_tail

Of MNIST-5k 400 zeros are kept and 8 nines, the others between (imbalance 50).
"""

from kdjax.runner.config import Data, Experiment, Search, Student, Teacher

TAIL = "long_tailed('mnist5k', imbalance=50)"


def _long_tail(methods: str, **data) -> Experiment:
  return Experiment(
    # Half the height and width: a quarter of the time.
    data=Data(dataset=TAIL, validation=0.15, image_size=14, **data),
    teacher=Teacher(
      model="mlp(400, 400, dropout=0.3)",
      augment="shift(1)",
      epochs=40,
      learning_rate=1e-3,
    ),
    student=Student(model="mlp(32)", epochs=30, batch_size=50, seeds=10),
    search=Search(methods=methods, rates=(3e-3, 1e-2)),
  )


EXPERIMENTS = {
  "long_tail": _long_tail("kd logit_adjustment logit_adjusted_kd"),
  "long_tail_balanced": _long_tail("kd", class_sampling="balanced"),
  "long_tail_weights": _long_tail(
    "kd", task="classification(class_weights='balanced')"
  ),
}
