"""The report of networks that were trained in a user's own code."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from kdjax.core.arguments import check_kind, check_path, misfit
from kdjax.core.errors import UserError, unknown_name
from kdjax.core.storage import digest
from kdjax.core.task import Task
from kdjax.evaluate import compare_networks, parameters
from kdjax.runner.report import logs, record
from kdjax.runner.system import environment
from kdjax.tasks import MAKERS


def report(
  folder: str | Path,
  student: Any,
  *,
  task: Task,
  baseline: Any = None,
  controls: Mapping[str, Any] | None = None,
  teacher: Mapping[str, float] | None = None,
  name: str = "Distillation report",
  settings: Mapping[str, Any] | None = None,
) -> Path:
  """Writes the runner's report of networks that were trained in one's own code.

  Several trainings, one a seed, give spreads and paired tests; a baseline is the
  same student trained on the targets alone, from the same seeds and batches.

  Args:
    folder: what is written: report.html, figures/, results.json, metrics.jsonl.
    student: what `distill` returns, with `score_on`; or several, one a seed.
    task: what the answers mean.
    baseline: likewise, as many, in the order of their seeds; or None.
    controls: likewise, by name, such as {"label_smoothing": [...]}; or None.
    teacher: its metrics, from `evaluate`; or None.
    name: the page's title.
    settings: what the page lists as the settings, JSON values by name; or None.

  Returns:
    The page's path.

  Raises:
    UserError: for an argument of another kind, networks without a score, for other numbers of seeds than the
      student's, and for a task of no file of `kdjax.tasks`.
    StorageError: if a file cannot be written.

  Example:
    >>> import tempfile
    >>> from kdjax.tasks import classification
    >>> from kdjax.train.distill import Distilled
    >>> variables = {"params": {"kernel": np.eye(2)}}
    >>> row = {"epoch": 1, "step": 9, "loss": 0.5, "train_accuracy": 0.7}
    >>> student, baseline = (
    ...   Distilled(variables, {"accuracy": score}, [row]) for score in (0.9, 0.8)
    ... )
    >>> page = report(
    ...   tempfile.mkdtemp(), student, baseline=baseline, task=classification(2)
    ... )
    >>> "error" in page.read_text()
    True
  """
  check_path("folder", folder)
  check_kind("task", task, "task")
  for argument, value in {"controls": controls, "teacher": teacher}.items():
    if value is not None and not isinstance(value, Mapping):
      raise misfit(argument, "a mapping by name, or None", value)
  folder = Path(folder)
  runs_of = {"student": _several("student", student)}
  if baseline is not None:
    runs_of["baseline"] = _several("baseline", baseline)
  runs_of |= {key: _several(key, one) for key, one in (controls or {}).items()}
  _check(runs_of, task)
  if teacher is not None and task.score not in teacher:
    raise UserError(
      f"report: teacher has no {task.score!r}, the score of the task {task.name};"
      " evaluate(...) measures it"
    )
  entries = {key: _measured(runs, task) for key, runs in runs_of.items()}
  others = [key for key in entries if key not in ("student", "baseline")]
  pairs = [("student", key) for key in entries if key != "student"]
  results = {
    "name": name,
    "command": shlex.join(sys.argv),
    "experiment": {"settings": dict(settings or {})},
    "task": task.name,
    "teacher": teacher and _of_teacher(teacher, task),
    "student": entries["student"],
    **({"baseline": entries["baseline"]} if "baseline" in entries else {}),
    "controls": {key: entries[key] for key in others},
    "comparisons": compare_networks(entries, pairs, task),
    "environment": environment.describe(jax.devices()),
  }
  history = [row for key, runs in runs_of.items() for row in _rows(key, runs)]
  folder.mkdir(parents=True, exist_ok=True)
  logs.write_json(folder / "results.json", results)
  lines = [json.dumps(logs.to_plain(row), allow_nan=False) for row in history]
  logs.write_text(folder / logs.METRICS, "\n".join([*lines, ""]))
  return record.write_run(folder, results, history)


def _several(name: str, runs: Any) -> Sequence[Any]:
  runs = runs if type(runs) in (list, tuple) else [runs]
  for one in runs:
    check_kind(name, one, "distilled")
  return runs


def _check(runs_of: Mapping[str, Sequence[Any]], task: Task) -> None:
  if task.name not in MAKERS:
    raise unknown_name("task", task.name, MAKERS)
  seeds = len(runs_of["student"])
  for name, runs in runs_of.items():
    if not runs or len(runs) != seeds:
      raise UserError(
        f"report: {name} has {len(runs)} trainings, student has {seeds}; they"
        " are paired by their seeds"
      )
    if any(task.score not in run.metrics for run in runs):
      raise UserError(
        f"report: {name} has no {task.score!r}, the score of the task"
        f" {task.name}: train it with score_on="
      )


def _measured(runs: Sequence[Any], task: Task) -> dict[str, Any]:
  """What results.json says of networks of one architecture, one a seed."""
  first = runs[0].variables
  return {
    "model": "own",
    "parameters": parameters(first.get("params", first)),
    f"test_{task.score}": [run.metrics[task.score] for run in runs],
    **{
      name: [run.metrics[name] for run in runs]
      for name in runs[0].metrics
      if name != task.score
    },
    "digest": [digest(run.variables) for run in runs],
    "seeds": list(range(len(runs))),
  }


def _of_teacher(metrics: Mapping[str, float], task: Task) -> dict[str, Any]:
  others = {key: [x] for key, x in metrics.items() if key != task.score}
  return {"model": "own", f"test_{task.score}": [metrics[task.score]], **others}


def _rows(name: str, runs: Sequence[Any]) -> list[dict[str, Any]]:
  """The histories of all seeds side by side, as the runner's log has them."""
  rows = []
  for members in zip(*(run.history for run in runs), strict=False):
    row = {"network": name, "epoch": members[0]["epoch"]}
    row["step"] = members[0]["step"]
    others = [key for key in members[0] if key not in ("epoch", "step")]
    rows.append(
      row | {key: [one.get(key) for one in members] for key in others}
    )
  return rows
