"""ImageNet: ResNet-34 teaches ResNet-18; a convnet teaches DeiT-tiny.

  python launch.py --experiment=imagenet/resnet34_resnet18 \\
    --teacher_from=resnet34.safetensors
  python launch.py --experiment=imagenet/resnet50_deit_tiny \\
    --teacher_from=resnet50.safetensors

100 and 300 epochs of 1.28 million images: for a machine with several GPUs or
TPUs, and not run by us yet. Without --teacher_from the teacher is trained first,
with the residual student's settings. docs/recipes.md says what the literature
reports, what differs from it here (much, for DeiT) and how fast images are read.

Settings: mdistiller (arXiv:2203.08679), configs/imagenet/r34_r18, with half of
its batch and rate; DeiT (arXiv:2012.12877), main.py.
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

_DATA = Data(
  dataset="imagenet2012",
  test_split="validation",
  image_size=256,
  crop_size=224,
)
_VIEWS = "random_resized_crop + flip"
_RESIDUAL = {
  "epochs": 100,
  "batch_size": 256,
  "learning_rate": 0.1,
  "optimizer": "sgd(momentum=0.9, weight_decay=1e-4)",
  "schedule": "milestones((0.3, 0.6, 0.9), 0.1)",
  "augment": _VIEWS,
}


def _recipe(teacher: str, student: Student, distillation: str) -> Experiment:
  return Experiment(
    data=_DATA,
    teacher=Teacher(model=teacher, **_RESIDUAL),
    student=student,
    distillation=Distillation(distillation=distillation),
    controls=Controls(controls=False),
    run=Run(evaluate_every=5),
  )


EXPERIMENTS = {
  "imagenet/resnet34_resnet18": _recipe(
    "resnet34(normalise='imagenet')",
    Student(model="resnet18(normalise='imagenet')", seeds=1, **_RESIDUAL),
    "kd(temperature=1):0.5 + ce:0.5",
  ),
  "imagenet/resnet50_deit_tiny": _recipe(
    "resnet50(normalise='imagenet')",
    Student(
      model="deit_tiny(normalise='imagenet')",
      epochs=300,
      batch_size=1024,
      # 5e-4 for 512 images.
      learning_rate=1e-3,
      optimizer="adamw(weight_decay=0.05, decay_norms=False)",
      # 5 epochs of warm-up; a hundredth of the rate is left.
      schedule="cosine(warmup=0.0167, end=0.01)",
      augment=_VIEWS,
      seeds=1,
    ),
    "deit",
  ),
}
