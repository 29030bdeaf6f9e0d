"""What a run sees besides its settings: its images, their classes, its teachers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax import data
from kdjax.core import storage
from kdjax.data import Split
from kdjax.runner.pipeline.setup import Setup


def fingerprints(trained_on: Split, score_split: Split) -> dict[str, str]:
  """Names the images of a run by their bytes."""
  return {
    "sha256 of the training images": data.fingerprint(trained_on),
    "sha256 of the scored images": data.fingerprint(score_split),
  }


def _shapes(shape: Any) -> dict[str, str]:
  by_name = shape if isinstance(shape, Mapping) else {"an image": shape}
  return {
    f"shape of {name}": "x".join(map(str, one)) for name, one in by_name.items()
  }


def of_setup(setup: Setup) -> dict[str, Any]:
  """Describes what a run that stopped must find again to go on."""
  values = {
    "number of training images": len(setup.train_split.labels),
    "number of scored images": len(setup.score_split.labels),
    **_shapes(setup.dataset.image_shape),
  }
  for number, name in enumerate(setup.dataset.class_names):
    values[f"class {number}"] = name
  values |= fingerprints(setup.train_split, setup.score_split)
  if setup.train_split.weight is not None:
    weight = np.ascontiguousarray(setup.train_split.weight, "<f4")
    values["sha256 of the weights"] = hashlib.sha256(weight).hexdigest()
  teachers = [setup.saved_teacher, *(one for _, one in setup.other_teachers)]
  for teacher in filter(None, teachers):
    number = sum(key.startswith("sha256 of teacher") for key in values)
    digest = storage.digest(teacher.load())
    values[f"sha256 of teacher {number}"] = digest
  if setup.start is not None and not setup.start.of_teacher:
    digest = storage.digest(setup.start.variables(None))
    values["sha256 of the student's beginning"] = digest
  if setup.cached is not None:
    text = json.dumps(setup.cached.manifest, sort_keys=True)
    values["sha256 of the teacher cache"] = hashlib.sha256(
      text.encode()
    ).hexdigest()
  return values
