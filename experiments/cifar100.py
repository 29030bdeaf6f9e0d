"""CIFAR-100's usual pairs, with the settings of the literature's code.

  python launch.py --experiment=cifar100/resnet32x4_resnet8x4 --seeds=5
  python launch.py --experiment=cifar100/wrn40_2_wrn40_1_dkd

Without a method behind the pair's name it is `kd`; `_dkd`, `_review_kd` and
`_dist` have the weight that their authors give to that pair.

240 epochs of teacher and student, 64 images a step: for a GPU, and not run by us
yet. What the literature reports for each pair and method: docs/recipes.md.

Settings: RepDistiller (arXiv:1910.10699), train_teacher.py and train_student.py;
the same in mdistiller (arXiv:2203.08679), configs/cifar100. Weights: its
configs/cifar100/dkd, ReviewKD's CIFAR-100/script/reviewKD.sh (arXiv:2104.09044)
and DIST's dist_cifar.yaml (arXiv:2205.10536).
"""

from kdjax.runner.config import (
  Controls,
  Data,
  Distillation,
  Experiment,
  Run,
  Student,
  Teacher,
)

_NORMALISE = "normalise='cifar100'"
_NETWORKS = {
  "resnet8x4": f"resnet8x4({_NORMALISE})",
  "resnet20": f"resnet20({_NORMALISE})",
  "resnet32": f"resnet32({_NORMALISE})",
  "resnet32x4": f"resnet32x4({_NORMALISE})",
  "resnet56": f"resnet56({_NORMALISE})",
  "resnet110": f"resnet110({_NORMALISE})",
  "wrn16_2": f"wrn(16, 2, {_NORMALISE})",
  "wrn40_1": f"wrn(40, 1, {_NORMALISE})",
  "wrn40_2": f"wrn(40, 2, {_NORMALISE})",
  "vgg8": f"cifar_vgg8({_NORMALISE})",
  "vgg13": f"cifar_vgg13({_NORMALISE})",
  "mobilenet_v2": f"mobilenet_v2(0.5, {_NORMALISE})",
  "shufflenet_v1": f"shufflenet_v1({_NORMALISE})",
  "shufflenet_v2": f"shufflenet_v2({_NORMALISE})",
}
# Teacher and student. RepDistiller's ResNet-50 teacher is not among our models.
_PAIRS = (
  ("wrn40_2", "wrn16_2"),
  ("wrn40_2", "wrn40_1"),
  ("resnet56", "resnet20"),
  ("resnet110", "resnet20"),
  ("resnet110", "resnet32"),
  ("resnet32x4", "resnet8x4"),
  ("vgg13", "vgg8"),
  ("vgg13", "mobilenet_v2"),
  ("resnet32x4", "shufflenet_v1"),
  ("resnet32x4", "shufflenet_v2"),
  ("wrn40_2", "shufflenet_v1"),
)
# DKD's beta, by teacher and student.
_BETAS = {
  ("wrn40_2", "wrn16_2"): 6,
  ("wrn40_2", "wrn40_1"): 6,
  ("resnet56", "resnet20"): 2,
  ("resnet110", "resnet32"): 2,
  ("resnet32x4", "resnet8x4"): 8,
  ("vgg13", "vgg8"): 6,
  ("vgg13", "mobilenet_v2"): 6,
  ("resnet32x4", "shufflenet_v1"): 8,
  ("resnet32x4", "shufflenet_v2"): 8,
  ("wrn40_2", "shufflenet_v1"): 8,
}
# ReviewKD's weight, which it reaches after 20 epochs.
_REVIEWS = {
  ("wrn40_2", "wrn16_2"): 5,
  ("wrn40_2", "wrn40_1"): 5,
  ("wrn40_2", "shufflenet_v1"): 5,
  ("resnet32x4", "resnet8x4"): 5,
  ("resnet32x4", "shufflenet_v1"): 5,
  ("resnet32x4", "shufflenet_v2"): 8,
  ("resnet56", "resnet20"): 0.6,
  ("resnet110", "resnet32"): 1,
}
# The pairs for which DIST reports figures; it has one weight for all.
_DISTS = (
  ("wrn40_2", "wrn40_1"),
  ("resnet56", "resnet20"),
  ("resnet32x4", "resnet8x4"),
  ("resnet32x4", "shufflenet_v1"),
  ("resnet32x4", "shufflenet_v2"),
)
_RATE = 0.05
_RATES = dict.fromkeys(("mobilenet_v2", "shufflenet_v1", "shufflenet_v2"), 0.01)
_SHARED = {
  "epochs": 240,
  "batch_size": 64,
  "optimizer": "sgd(momentum=0.9, weight_decay=5e-4)",
  # After epochs 150, 180 and 210.
  "schedule": "milestones((0.625, 0.75, 0.875), 0.1)",
  "augment": "crop(4) + flip",
}


def _pair(teacher: str, student: str, distillation: str = "kd") -> Experiment:
  return Experiment(
    data=Data(dataset="cifar100"),
    teacher=Teacher(model=_NETWORKS[teacher], learning_rate=_RATE, **_SHARED),
    student=Student(
      model=_NETWORKS[student],
      learning_rate=_RATES.get(student, _RATE),
      seeds=1,
      **_SHARED,
    ),
    # As kd: temperature 4, a tenth for the labels.
    distillation=Distillation(distillation=distillation),
    controls=Controls(controls=False),
    run=Run(evaluate_every=10),
  )


def _by_method() -> dict[str, dict[tuple[str, str], str]]:
  """The objectives by method and pair."""
  return {
    "dkd": {pair: f"dkd(beta={beta})" for pair, beta in _BETAS.items()},
    "review_kd": {
      pair: f"ce:1 + review_kd:warmup(0.083, {weight})"
      for pair, weight in _REVIEWS.items()
    },
    "dist": dict.fromkeys(_DISTS, "dist(temperature=4)"),
  }


EXPERIMENTS = {
  f"cifar100/{'_'.join(pair)}": _pair(*pair) for pair in _PAIRS
} | {
  f"cifar100/{'_'.join(pair)}_{method}": _pair(*pair, text)
  for method, texts in _by_method().items()
  for pair, text in texts.items()
}
