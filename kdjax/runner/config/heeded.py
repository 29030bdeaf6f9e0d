"""Which settings each command heeds: what its --help shows, and what it refuses."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_flag, as_text, options, value_of


def _flags(*groups: str) -> set[str]:
  return {one.flag for one in options() if one.group in groups}


# What is set before a command begins, whichever it is.
_MACHINE = {"accelerator", "host_devices", "compilation_cache"}
_TRANSFER = {one for one in _flags("data") if one.startswith("transfer_")}
_STORED = {"dataset", "data_dir", "train_split", "test_split", "image_size"}
_STORED |= {"resident_megabytes"}
_TRAINING = {"workdir", "checkpoint_steps", "evaluate_every"} | _MACHINE
# A teacher without a classifier is for one method, not for all or for answers.
_TAUGHT = _flags("teacher") - {"teacher_cache", "teacher_head"}
_GIVEN = {"teacher_from", "teacher_classes"}
_OBJECTIVE = {"distillation", "temperature", "hard_weight", "method_weight"}
_RUN = _flags(
  "data", "teacher", "student", "distillation", "teaching", "controls"
) | _flags("compression", "computing", "run", "cluster")
# Networks that are trained in this process, with no log of their own.
_PRECISION = {"compute_dtype", "teacher_dtype", "remat", "preflight"}

HEEDED = {
  "distill": _RUN,
  "sweep": _RUN,
  "compare": _flags("data", "student", "search")
  | _TAUGHT
  | {"temperature", "hard_weight", "teacher_view"}
  | {"teachers", "pool", "teacher_weights", "latency"}
  | _PRECISION
  | _TRAINING,
  "cache": _flags("data", "cache") - _TRANSFER
  | _TAUGHT
  | {"student", "augment", "views", "view_seed", "distillation"}
  | _PRECISION
  | {"accumulate_steps", "members_at_once"}
  | _TRAINING,
  "quantify": _flags("quantify")
  | _STORED
  | _TAUGHT - _GIVEN
  | _flags("student") - {"views", "view_seed"}
  | _MACHINE
  | {"workdir"},
  "soft_td": _flags("data", "student", "soft_td") - _TRANSFER
  | _TAUGHT - _GIVEN
  | {"temperature", "hard_weight", "label_smoothing", "search_rates"}
  | {"latency"}
  | _PRECISION
  | _MACHINE
  | {"workdir"},
  "synthesise": _flags("synthesis")
  | _STORED
  | {"validation", "student", "epochs", "batch_size", "seeds", "workdir"}
  | _MACHINE,
  "compress": _flags("data", "student", "compression")
  - _TRANSFER
  - {"data_workers", "views", "view_seed"}
  | _TAUGHT
  | _OBJECTIVE
  | {"gradient_metrics", "baseline_learning_rate", "latency"}
  | _TRAINING,
  "export": _flags("export") | {"workdir", "data_dir", "accelerator"},
  "reproduce": {"workdir", "accelerator"},
  "list": {"student", "dataset", "data_dir", "image_size"} | _MACHINE,
  "plot": {"workdir"} | _MACHINE,
}
# What a command refuses itself, in a line with the way out.
_REFUSES = {
  "cache": {"teacher_cache"},
  "quantify": {"teacher_from", "labels", "omit_classes"},
  "soft_td": {"teacher_from", "distillation"},
  "synthesise": {"teacher", "teacher_from", "labels", "images"}
  | {"omit_classes", "crop_size"},
}
# Commands without an experiment of their own.
APART = {"export", "reproduce", "plot"}
# What decides so much that a file's setting is not passed over in silence.
_DECISIVE = _flags("teaching", "compression", "computing", "cluster", "export")
_DECISIVE |= {"regime", "transfer_dataset", "teacher_view", "reference"}
_DECISIVE |= {"keep_best", "best_metric", "nan", "nan_patience"}
_DECISIVE |= {"views", "data_workers"}


class Row(NamedTuple):
  """One flag as `--help` shows it.

  Attributes:
    group: under which heading.
    flag: its name.
    default: text, a truth value for a switch, or None.
    help: what it does.
  """

  group: str
  flag: str
  default: Any
  help: str


def rows(words: Sequence[str], chosen: Experiment) -> list[Row]:
  """Lists the flags of a command.

  Args:
    words: its name, and what stands behind it; all flags where there is none.
    chosen: the settings without flags.

  Example:
    >>> [row.flag for row in rows(["reproduce"], Experiment())]
    ['help', 'version', 'workdir', 'accelerator']
  """
  found = [
    Row("launch", "help", False, "this help"),
    Row("launch", "version", False, "the version of kdjax"),
  ]
  if not words or words[0] not in APART:
    said = "one of `list experiments`; flags override it"
    found.append(Row("launch", "experiment", None, said))
  for one in options():
    if not words or one.flag in HEEDED[words[0]]:
      default = as_text(value_of(chosen, one))
      said = one.field.metadata["help"]
      found.append(Row(one.group, one.flag, default, said))
  return found


def check(command: str, given: Collection[str], experiment: Experiment) -> None:
  """Refuses what a command would not heed.

  Args:
    command: its name.
    given: the flags that were typed.
    experiment: the settings, an experiment's file among them.

  Raises:
    UserError: names the flag and what the command takes.

  Example:
    >>> check("sweep", ["temperature"], Experiment())
  """
  if "experiment" in given and command in APART:
    raise UserError(f"--experiment: {command} does not take it")
  for one in options():
    value = value_of(experiment, one)
    other = value != one.field.default
    spoken = other and one.flag in _REFUSES.get(command, ())
    if one.flag in HEEDED[command] or spoken:
      continue
    decisive = other and one.flag in _DECISIVE
    if one.flag in given or (decisive and command not in ("list", *APART)):
      raise UserError(_refused(command, as_flag(one, value)))


def _refused(command: str, flag: str) -> str:
  if command in ("export", "reproduce"):
    kept = ", --".join(sorted(HEEDED[command]))
    return (
      f"{flag}: {command} takes a finished run's settings; only --{kept} may be"
      " given"
    )
  return f"{flag}: {command} does not take it (launch.py {command} --help)"
