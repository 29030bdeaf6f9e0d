"""What torchvision, timm and transformers compute, for test_weights.py.

Needs torch, torchvision, timm and transformers, which kdjax does not:

  PYTHONPATH=.:tests python tests/models/pretrained/make_golden_weights.py           # stores
  PYTHONPATH=.:tests python tests/models/pretrained/make_golden_weights.py parity    # compares

Weights come from their names (outside_cases.py): what is stored is the names
and shapes that those libraries use, and the logits that they give. `parity`
stores nothing: it prints, for every architecture at 1000 classes, the largest
difference of our logits from theirs relative to the largest logit.
"""

import json
import pathlib
import sys

import numpy as np
from outside_cases import draw_all, draw_images

KEPT = []  # operators last as long as their library
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"

# name, our model, library, its arguments, side of the images
TINY_VIT = (
  "vit(patch=8, width=32, depth=2, heads=4, mlp_width=48, epsilon=1e-12"
)
CASES = [
  ("alexnet", "alexnet", "torchvision", {}, 160),
  ("vgg11", "vgg11", "torchvision", {}, 64),
  ("vgg11_bn", "vgg11_bn", "torchvision", {}, 96),
  ("resnet18", "resnet18", "torchvision", {}, 64),
  ("resnet50", "resnet50", "torchvision", {}, 64),
  ("vit_b_16", "vit_base16", "torchvision", {}, 32),
  ("resnet18", "resnet18", "timm", {}, 48),
  ("vit_tiny_patch16_224", "vit_tiny16", "timm", {}, 32),
  ("deit_tiny_distilled_patch16_224", "deit_tiny", "timm", {}, 32),
  ("ViT", f"{TINY_VIT})", "transformers", {}, 32),
  ("DeiT", f"{TINY_VIT}, distilled=True)", "transformers", {}, 32),
]
PARITY = [
  *((name, name, "torchvision", {}, 224) for name in (
    "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn",
    "vgg16_bn", "vgg19_bn", "resnet18", "resnet34", "resnet50", "resnet101",
    "resnet152",
  )),
  ("vit_b_16", "vit_base16", "torchvision", {}, 224),
  ("resnet50", "resnet50", "timm", {}, 224),
  *((f"vit_{size}_patch16_224", f"vit_{size}16", "timm", {}, 224)
    for size in ("tiny", "small", "base")),
  *((f"deit_{size}_distilled_patch16_224", f"deit_{size}", "timm", {}, 224)
    for size in ("tiny", "small", "base")),
  ("ViT", "vit_base16(epsilon=1e-12)", "transformers", {"base": True}, 224),
  ("DeiT", "deit_base(epsilon=1e-12)", "transformers", {"base": True}, 224),
]  # fmt: skip


def import_torchvision():
  """Imports torchvision, also where its compiled operators do not load."""
  import torch

  try:
    import torchvision
  except RuntimeError:
    for name in [
      name for name in sys.modules if name.startswith("torchvision")
    ]:
      del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
      library.define(
        f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
      )
    KEPT.append(library)
    import torchvision

  return torchvision


def make_outside(library, name, side, classes, base=False):
  """The library's own network, in evaluation mode."""
  torchvision = import_torchvision()
  if library == "torchvision":
    sizes = {"image_size": side} if name.startswith("vit") else {}
    network = getattr(torchvision.models, name)(num_classes=classes, **sizes)
  elif library == "timm":
    import timm

    sizes = {} if name.startswith("resnet") else {"img_size": side}
    network = timm.create_model(name, num_classes=classes, **sizes)
  else:
    import transformers

    small = {"hidden_size": 32, "num_hidden_layers": 2, "patch_size": 8}
    small |= {"num_attention_heads": 4, "intermediate_size": 48}
    config = getattr(transformers, f"{name}Config")(
      image_size=side, num_labels=classes, **({} if base else small)
    )
    kind = {
      "ViT": "ViTForImageClassification",
      "DeiT": "DeiTForImageClassificationWithTeacher",
    }
    network = getattr(transformers, kind[name])(config)
  return network.eval()


def fill_and_run(network, images):
  """(shape by tensor name, logits) of a torch network with drawn weights."""
  import torch

  state = network.state_dict()
  shapes = {
    name: list(tensor.shape)
    for name, tensor in state.items()
    if not name.endswith("num_batches_tracked")
  }
  drawn = {name: torch.tensor(x) for name, x in draw_all(shapes).items()}
  missing = network.load_state_dict(drawn, strict=False).missing_keys
  assert all(name.endswith("num_batches_tracked") for name in missing)
  with torch.no_grad():
    logits = network(torch.tensor(images.transpose(0, 3, 1, 2)))
  return shapes, getattr(logits, "answers", logits).numpy()


def run_ours(text, shapes, images, classes):
  """Our logits with the same drawn weights."""
  import jax

  from kdjax.models import make_model
  from kdjax.models.pretrained.read import convert

  module = make_model(text, classes=classes)
  variables = convert(draw_all(shapes), module, images.shape[1:])
  return np.asarray(jax.jit(module.apply)(variables, images))


def relative_error(ours, theirs):
  return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def store():
  for name, text, library, options, side in CASES:
    images = draw_images(side)
    network = make_outside(library, name, side, classes=10, **options)
    shapes, logits = fill_and_run(network, images)
    case = {"model": text, "side": side, "tensors": shapes}
    case["logits"] = np.float64(logits).tolist()
    file = GOLDEN / f"{library}_{name.lower()}.json"
    file.write_text(json.dumps(case) + "\n")
    print(file.name, relative_error(run_ours(text, shapes, images, 10), logits))


def compare():
  for name, text, library, options, side in PARITY:
    images = draw_images(side)
    network = make_outside(library, name, side, classes=1000, **options)
    shapes, logits = fill_and_run(network, images)
    ours = run_ours(text, shapes, images, 1000)
    agree = (ours.argmax(-1) == logits.argmax(-1)).all()
    error = relative_error(ours, logits)
    print(
      f"| `{text}` | {library} {name} | {error:.1e} | {agree} |", flush=True
    )


if __name__ == "__main__":
  compare() if sys.argv[1:] == ["parity"] else store()
