"""Trained networks -> the rows of the table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.core.calling import call_with
from kdjax.core.task import Task
from kdjax.data import Split
from kdjax.data.dataset import empty_examples
from kdjax.models import packed, quantized
from kdjax.models.export import formats
from kdjax.models.export.signature import compile_network, forward
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.compress import perturb, timing
from kdjax.runner.jobs.compress.training import Variant
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.setup import Setup, TrainSpec, about_network
from kdjax.runner.pipeline.teacher_targets import with_targets
from kdjax.runner.pipeline.teachers import TeacherPool
from kdjax.runner.pipeline.values import objective_text

INT8 = "w8a8"
# (network, control): what a row is compared with, seed by seed.
PAIRS = (
  ("student", "baseline"),
  ("int8", "student"),
  ("pruned", "pruned_baseline"),
  ("pruned", "student"),
  ("qad", "qad_baseline"),
  ("qad", "post_training"),
  ("qad", "student"),
)
BATCH = 64


class Row(NamedTuple):
  """Networks of one kind.

  Attributes:
    train_spec: how they see images.
    network: what has their `apply`.
    variables: of all seeds, with a leading axis, as they are stored.
    quantization: their bits.
    control: whether they stand in comparisons only.
  """

  train_spec: TrainSpec
  network: Any
  variables: Any
  quantization: str = "none"
  control: bool = False


def measure(ways: dict[str, Variant], context: Context) -> Measured:
  """Measures all networks, and compares them."""
  setup = with_targets(ways["plain"].setup, context.values["teacher"])
  scheme = ways["quantized"].experiment.compression.quantization
  rows = gather(
    setup, context.values["teacher"], context.values["training"], scheme
  )
  task = setup.student.task
  entries = measure_rows(setup, rows, context.workdir / "onnx")
  table = {
    "rows": entries,
    "comparisons": compare(entries, task),
    "front": front(entries, task),
    "quantization": scheme,
    "sparsity": ways["pruned"].experiment.compression.sparsity,
    "noise": perturb.NOISE,
    "shift": perturb.SHIFT,
  }
  objective = objective_text(ways["plain"].experiment, setup.values.objective)
  return Measured(
    {"task": task.name, "table": table, "objective": objective}
    | setup.data_facts
  )


def gather(
  setup: Setup, pool: TeacherPool, of: Mapping[str, Any], scheme: str
) -> dict[str, Row]:
  """Lists all networks, those in few bits as they are stored."""
  student, teacher = setup.student, pool.teacher.networks

  def few(variables, scheme, control=False):
    return _in_bits(setup, variables, scheme)._replace(control=control)

  rows = {
    "teacher": Row(setup.teacher, setup.teacher.network, teacher),
    "baseline": Row(student, student.network, of["plain"]["baseline"]),
    "student": Row(student, student.network, of["plain"]["student"]),
    "int8": few(of["plain"]["student"], INT8),
    "pruned": Row(student, student.network, of["pruned"]["student"]),
    "pruned_baseline": Row(
      student, student.network, of["pruned"]["baseline"], control=True
    ),
  }
  if scheme != INT8:
    rows["post_training"] = few(of["plain"]["student"], scheme)
  rows["qad"] = few(of["quantized"]["student"], scheme)
  rows["qad_baseline"] = few(of["quantized"]["baseline"], scheme, True)
  return rows


def _in_bits(setup: Setup, variables: Any, scheme: str) -> Row:
  network = setup.student.model.make(classes=setup.dataset.classes)

  def into(one):
    return quantized.quantize_variables(network, one, scheme, setup.sample)

  return Row(
    setup.student,
    quantized.stores_in(network, scheme),
    jax.jit(jax.vmap(into))(variables),
    scheme,
  )


def measure_rows(
  setup: Setup, rows: Mapping[str, Row], folder: Path
) -> dict[str, dict[str, Any]]:
  """Measures all rows."""
  views = {"": setup.score_split.images}
  if not isinstance(setup.score_split.images, Mapping):
    views |= {
      "noise": perturb.noisy(setup.score_split.images),
      "shift": perturb.shifted(setup.score_split.images),
    }
  task, teacher_logits = (
    setup.student.task,
    _logits(rows["teacher"], views[""])[0],
  )
  labels = dict.fromkeys(views, setup.score_split.labels)
  if task.border_target is not None:
    size = views[""][0].shape[:2]
    labels["shift"] = perturb.shifted(
      labels[""], border=task.border_target, size=size
    )
  entries, answers = {}, {}
  for name, row in rows.items():
    compared_with = None if name == "teacher" else teacher_logits
    logits = _logits(row, views[""])
    entries[name] = _size(setup, row)
    entries[name] |= predict.measured(setup, task, logits, compared_with)
    for kind in views.keys() - {""}:
      entries[name][f"{kind}_{task.score}"] = evaluate.score(
        task, _logits(row, views[kind]), labels[kind]
      )
    if not row.control:
      answers[name] = _answers(setup, name, row, folder)
  crop_size = setup.experiment.data.crop_size
  for name, one in _rounded(
    answers, setup.score_split, task, crop_size
  ).items():
    entries[name] |= one
  if setup.experiment.run.latency:
    for name, times in timing.latencies(answers, setup.score_split).items():
      entries[name] |= times
  return entries


def compare(
  entries: Mapping[str, Mapping[str, Any]], task: Task
) -> list[dict[str, Any]]:
  """Compares rows of `measure_rows` seed by seed, as results.json has it."""
  pairs = [pair for pair in PAIRS if entries.keys() >= {*pair}]
  return evaluate.compare_networks(entries, pairs, task)


def front(entries: Mapping[str, Mapping[str, Any]], task: Task) -> list[str]:
  """Names the rows that none beats in size and in the task's score.

  Args:
    entries: from `measure_rows`; controls do not count.
  """
  points = {
    name: (
      np.mean(one["bytes"]),
      -task.better * np.mean(one[f"test_{task.score}"]),
    )
    for name, one in entries.items()
    if not one["control"]
  }

  def beaten(name):
    size, error = points[name]
    return any(
      other != name and x <= size and y <= error and (x, y) != (size, error)
      for other, (x, y) in points.items()
    )

  return sorted((x for x in points if not beaten(x)), key=points.get)


def _logits(row: Row, images) -> np.ndarray:
  return evaluate.predict(
    row.network.apply,
    row.variables,
    images,
    row.train_spec.show,
    chunk=predict.at_once(row.train_spec.task, images),
    together=row.train_spec.together,
    keep=row.train_spec.task.kept and row.train_spec.task.kept.of,
  )


def _size(setup: Setup, row: Row) -> dict[str, Any]:
  """Numbers, bytes, operations and memory."""
  seeds = len(jax.tree.leaves(row.variables)[0])
  seed_variables = [_member(row.variables, i) for i in range(seeds)]
  sample = empty_examples(setup.dataset, BATCH)
  apply = _applied(row.network)
  wide = [_numbers(one["params"]) for one in seed_variables]
  return {
    "model": row.train_spec.model.text,
    "quantization": row.quantization,
    "control": row.control,
    "parameters": wide[0][1],
    "nonzero": [count for count, _ in wide],
    "bytes": [packed.file_bytes(one) for one in seed_variables],
    "flops": evaluate.flops(apply, seed_variables[0], setup.sample),
    "peak_bytes": evaluate.peak_memory(apply, seed_variables[0], sample),
    "digest": [storage.digest(one["params"]) for one in seed_variables],
  }


def _numbers(params: Any) -> tuple[int, int]:
  """How many weights are not zero, and how many there are, without scales."""
  values = [
    leaf.array.qvalue if quantized.is_stored(leaf) else leaf
    for leaf in jax.tree.leaves(params, is_leaf=quantized.is_stored)
  ]
  nonzero = sum(int(np.count_nonzero(np.asarray(x))) for x in values)
  return nonzero, sum(int(np.size(x)) for x in values)


def _applied(network: Any) -> Callable:
  return lambda variables, inputs: call_with(
    network.apply, variables, inputs, train=False
  )


def _answers(setup, name, row, folder) -> dict[str, formats.Answer]:
  """The first seed, ready to answer in each runtime that can."""
  about = about_network(
    setup.dataset,
    setup.score_split.images,
    row.train_spec.model.text,
    crop_size=setup.experiment.data.crop_size,
  )
  network = forward(about, _member(row.variables, 0), row.network)
  ready = {"jax": compile_network(network)}
  if row.quantization == quantized.NONE and formats.is_ready("onnx"):
    images = setup.dataset.train
    ready |= timing.graphs(name, network, about, images, folder)
  return ready


def _rounded(
  answers, score_split: Split, task: Task, crop_size: int | None
) -> dict[str, dict[str, float]]:
  """What onnxruntime's int8 leaves of the first seed's score."""
  scores = {}
  for name, ready in answers.items():
    if "onnxruntime_int8" in ready:
      logits = predict.outside(
        ready["onnxruntime_int8"], task, score_split.images, crop_size
      )
      (score,) = evaluate.score(task, logits[None], score_split.labels)
      scores[name] = {f"onnxruntime_int8_{task.score}": score}
  return scores


def _member(variables: Any, number: int) -> Any:
  return predict.first(jax.tree.map(lambda x: x[number:], variables))
