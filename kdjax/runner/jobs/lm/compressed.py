"""What the students of a run come to in few bits, or with few weights."""

from pathlib import Path
from typing import Any

import jax

from kdjax.models import pretrained, quantized
from kdjax.runner.pipeline import footprint, predict
from kdjax.train.precision import in_precision


def scores(setup: Any, students: Any, folder: Path) -> dict[str, Any]:
  """Measures all students' bytes and zeros, and the first one's score, read back.

  Args:
    students: variables with a leading axis (M,).
    folder: of the first one, as it was saved.
  """
  experiment = setup.experiment
  note = footprint.note(experiment)
  if not note:
    return {}
  stored = footprint.each(students)
  if "quantization" in note:
    module = setup.student_model.pretrained.network.module
    tokens = setup.sample["tokens"]

    @jax.jit
    def in_few_bits(variables):
      return quantized.quantize_variables(
        module, variables, note["quantization"], tokens
      )

    stored = map(in_few_bits, stored)
  values = footprint.sizes(predict.first(students), stored)
  if "quantization" in note:
    again = pretrained.load(folder)
    dtype = experiment.computing.compute_dtype
    (measured,) = setup.tokenization.measure_students(
      in_precision(again.network, dtype), lambda: [again.variables]
    )
    values |= {
      f"stored_{name}": [measured[name]]
      for name in ("nats_per_token", "bits_per_byte")
    }
  if experiment.compression.sparsity:
    values["sparsity"] = footprint.sparsity(students, experiment.compression)
  return {"compression": note | values}
