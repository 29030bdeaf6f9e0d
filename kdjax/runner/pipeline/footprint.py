"""What a run's small students come to: read back from what was saved."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.models import packed, quantized
from kdjax.runner.config import Compression, Experiment
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.setup import Setup
from kdjax.train import pruning


def note(experiment: Experiment) -> dict[str, Any]:
  """Says of a saved network what its weights do not: how it computes.

  Example:
    >>> note(Experiment(compression=Compression(quantization="w8")))
    {'quantization': 'w8'}
  """
  settings = experiment.compression
  values = {
    "quantization": settings.quantization,
    "sparsity": settings.sparsity,
  }
  return {
    name: value for name, value in values.items() if value not in ("none", 0.0)
  }


def scores(
  experiment: Experiment, setup: Setup, folder: Path
) -> dict[str, Any]:
  """Measures the saved students: zeros, bytes, and their score as they are stored."""
  settings = experiment.compression
  if not note(experiment):
    return {}
  students = storage.load_variables(folder, storage.read_note(folder))
  values, stored = {}, students
  if settings.quantization != quantized.NONE:
    stored, values = in_few_bits(setup, students, settings.quantization)
  values |= sizes(predict.first(students), each(stored))
  if settings.sparsity:
    values["sparsity"] = sparsity(students, settings)
  return {"compression": note(experiment) | values}


def sizes(student: Any, stored: Iterable[Any]) -> dict[str, Any]:
  """Says how many bytes students take, each as it is stored, and one in float32."""
  return {
    "bytes_float32": packed.file_bytes(jax.tree.map(np.ones_like, student)),
    "bytes": [packed.file_bytes(one) for one in stored],
  }


def in_few_bits(setup: Setup, students: Any, scheme: str) -> tuple[Any, dict]:
  """Rounds students to few bits; returns them, and their score as they are then."""
  task = setup.student.task
  network = setup.student.model.make(classes=setup.dataset.classes)
  into = partial(
    quantized.quantize_variables, network, scheme=scheme, sample=setup.sample
  )
  few = jax.jit(jax.vmap(lambda one: into(one)))(students)
  logits = evaluate.predict(
    quantized.stores_in(network, scheme).apply,
    few,
    setup.score_split.images,
    setup.student.show,
    chunk=predict.at_once(task, setup.score_split.images),
    together=setup.student.together,
    keep=task.kept and task.kept.of,
  )
  score = evaluate.score(task, logits, setup.score_split.labels)
  return few, {f"stored_{task.score}": score}


def sparsity(students: Any, settings: Compression) -> dict[str, Any]:
  """Counts the zeros of students."""
  several = list(each(students))
  counts = [
    pruning.zeros({"network": one["params"]}, settings.pruning_structure)
    for one in several
  ]
  weights = [pruning.zeros({"network": one["params"]}) for one in several]
  sums = [np.sum(list(count.values()), axis=0) for count in counts]
  zero_count, total = min(sums, key=lambda sum: sum[0])
  parameters = evaluate.parameters(several[0]["params"])
  zeros = np.mean(
    [
      sum(np.sum(x == 0) for x in jax.tree.leaves(one["params"]))
      for one in several
    ]
  )
  return {
    "asked": settings.sparsity,
    "of": settings.pruning_structure,
    "reached": float(zero_count / total),
    "verified": bool(zero_count >= settings.sparsity * total - len(counts[0])),
    "overall": float(zeros / parameters),
    "layers": {
      path: float(np.mean([one[path][0] / one[path][1] for one in weights]))
      for path in weights[0]
    },
  }


def each(students: Any) -> Iterator[Any]:
  """The networks of a tree with a leading axis, one by one."""
  for member in range(len(jax.tree.leaves(students)[0])):
    yield jax.tree.map(lambda x, m=member: x[m], students)
