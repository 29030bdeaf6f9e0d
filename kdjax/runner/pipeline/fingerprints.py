"""What a run sees besides its settings: its images, their classes, its teachers."""

import hashlib
import json
from typing import Any

from kdjax import data
from kdjax.core import storage
from kdjax.runner.pipeline.setup import Prepared


def seen(parts: Prepared) -> dict[str, Any]:
  """Describes what a run that stopped must find again to go on.

  Args:
    parts: of the run.

  Returns:
    JSON values by what they are, the easily understood ones first.
  """
  found = {
    "number of training images": len(parts.shown.labels),
    "number of scored images": len(parts.scored.labels),
    "shape of an image": "x".join(map(str, parts.dataset.image_shape)),
  }
  for number, name in enumerate(parts.dataset.class_names):
    found[f"class {number}"] = name
  found["sha256 of the training images"] = data.fingerprint(parts.shown)
  found["sha256 of the scored images"] = data.fingerprint(parts.scored)
  teachers = [parts.found, *(one for _, one in parts.colleagues)]
  for teacher in filter(None, teachers):
    number = sum(key.startswith("sha256 of teacher") for key in found)
    digest = storage.digest(teacher.load())
    found[f"sha256 of teacher {number}"] = digest
  if parts.cached is not None:
    text = json.dumps(parts.cached.manifest, sort_keys=True)
    found["sha256 of the teacher cache"] = hashlib.sha256(
      text.encode()
    ).hexdigest()
  return found
