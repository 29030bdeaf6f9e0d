"""What there is to choose from, for `launch.py list`."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from kdjax import data, taps
from kdjax.core import spec
from kdjax.core.errors import UserError, unknown_name
from kdjax.core.registry import by_file
from kdjax.core.schedule import SCHEDULES
from kdjax.core.task import Task
from kdjax.methods import FAMILIES, MAKERS, PRESETS
from kdjax.methods.registry import why_not
from kdjax.models import MAKERS as MODELS
from kdjax.models import read_model
from kdjax.models.pretrained.architectures import ARCHITECTURES, tensor_names
from kdjax.models.pretrained.gguf_config import FAMILIES as GGUF_FAMILIES
from kdjax.models.pretrained.packages import PACKAGES, PREFIX
from kdjax.runner.config import AUTO, Experiment
from kdjax.runner.pipeline.dataset import kind_of_text, with_task
from kdjax.runner.pipeline.kinds import is_of_texts
from kdjax.runner.pipeline.values import methods_of
from kdjax.tasks import MAKERS as TASKS
from kdjax.tasks import make_task
from kdjax.train.optimizer import MAKERS as OPTIMIZERS
from kdjax.train.optimizer import SHAPES
from kdjax.train.schemes.registry import MAKERS as SCHEMES

# Names longer than this have a line of their own.
WIDTH = 36
OLD_NAMES = {"regimes": "schemes"}


def listing(
  words: Sequence[str],
  *,
  experiments: Mapping[str, str],
  experiment: Experiment | None = None,
  task: Task | None = None,
) -> str:
  """Writes out the names that flags take, each with one line.

  Args:
    words: what to list; nothing lists whatever flags take.
    experiment: whose student and data `taps` lists; the defaults otherwise.
    task: of which `methods` lists those that read its answers, and why the
      others do not; all by default.

  Example:
    >>> print(listing(["experiments"], experiments={"a": "Does this.\\n\\nMore."}))
    experiments (--experiment)
      a  Does this.
  """
  kinds = {
    "methods": ("--distillation", _methods(task)),
    "sources": (
      "whom to cite",
      {name: _source(maker) for name, maker in by_file(MAKERS).items()},
    ),
    "schemes": ("--scheme", _first_lines(SCHEMES)),
    "models": ("--teacher, --student", _first_lines(MODELS)),
    "pretrained": ("kdjax.pretrained.load", _pretrained()),
    "datasets": ("--dataset, --transfer_dataset", _sets(drawn=False)),
    "transfer_datasets": ("--transfer_dataset alone", _sets(drawn=True)),
    "tasks": ("Dataset(..., task=...)", _first_lines(TASKS)),
    "experiments": (
      "--experiment",
      {name: _first_line(text) for name, text in experiments.items()},
    ),
    "views": ("--augment, --teacher_view", _first_lines(data.VIEWS)),
    "optimizers": (
      "--optimizer, --teacher_optimizer",
      _first_lines(OPTIMIZERS),
    ),
    "schedules": (
      "rates, --schedule; values, --temperature, --hard_weight, any weight",
      _first_lines(SHAPES, "rate: ") | _first_lines(SCHEDULES, "value: "),
    ),
  }
  words = [OLD_NAMES.get(word, word) for word in words]
  for word in words:
    if word not in (*kinds, "taps"):
      raise unknown_name("listing", word, [*kinds, "taps"])
  if "taps" in words:
    experiment = experiment or Experiment()
    kinds["taps"] = (f"of {experiment.student.model}", _taps(experiment))
  if task is not None and "taps" not in words:
    words = words or ["methods"]
    if "methods" not in words:
      raise UserError(
        f"list {' '.join(words)}: --task says of which task `list methods` shows"
        " the methods"
      )
    others = "methods that do not fit"
    kinds[others] = (f"--task={task.name}", _others(task))
    words.insert(words.index("methods") + 1, others)
  if "models" in words and "pretrained" not in words:
    words.insert(words.index("models") + 1, "pretrained")
  by_default = [kind for kind in kinds if kind != "sources"]
  return "\n\n".join(_block(kind, *kinds[kind]) for kind in words or by_default)


def task_of(experiment: Experiment | None) -> Task | None:
  """Returns the task of which methods are asked for; None for all."""
  text = experiment and experiment.data.task
  if not text:
    return None
  name = "language_model" if is_of_texts(text) else text
  try:
    return make_task(name, width=2, vocabulary=2)
  except UserError as error:
    raise UserError(f"--task={text}: {error}") from error


def _taps(experiment: Experiment) -> dict[str, str]:
  """Every place of the student that can be tapped, with what is there."""
  model, settings = experiment.student.model, experiment.data
  if model == AUTO:
    raise UserError(
      "list taps: name a network, such as --student='lenet(8, 16)'"
    )
  model = read_model(model)
  model.make(classes=2)
  dataset = data.load(
    settings.dataset,
    data_dir=settings.data_dir,
    image_size=settings.image_size,
    label_kind=kind_of_text(settings.task),
  )
  dataset = with_task(dataset, settings.task)
  image_shape = dataset.image_shape
  network = model.make(classes=dataset.classes)
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  try:
    shapes = jax.eval_shape(network.init, jax.random.key(0), images)
    rows = taps.describe(network.apply, shapes, images, train=False)
  except (TypeError, ValueError) as error:
    reason = str(error).split("\n")[0]
    raise UserError(
      f"{model} on images {tuple(image_shape)}: {reason}"
    ) from error
  return {
    row.tap: f"{'x'.join(map(str, row.shape)):>14}  {row.module}"
    for row in rows
  }


def _methods(task: Task | None) -> dict[str, str]:
  """Methods, families and presets; of a task those that read its answers."""

  def fits(objective: str) -> bool:
    names = methods_of(objective)
    return task is None or not any(why_not(name, task) for name in names)

  makers = {
    name: maker
    for name, maker in MAKERS.items()
    if task is None or not why_not(name, task)
  }
  families = {
    name: f"Family; stands for {default}."
    for name, default in FAMILIES.items()
    if default in makers
  }
  presets = {
    name: f"Preset; {text}." for name, text in PRESETS.items() if fits(name)
  }
  return _first_lines(makers) | families | presets


def _others(task: Task) -> dict[str, str]:
  """Why the other methods do not read a task's answers."""
  reasons = {name: why_not(name, task) for name in by_file(MAKERS)}
  return {name: reason for name, reason in reasons.items() if reason}


def _pretrained() -> dict[str, str]:
  """What language models load: packages, files, and folders with their tensors."""
  packages = {
    PREFIX + name: package.about for name, package in PACKAGES.items()
  }
  files = {"FILE.gguf": f"Architectures {', '.join(GGUF_FAMILIES)}."}
  folders = {
    f"FOLDER, {name}": f"{architecture.about} of {_grouped(tensor_names(name))}"
    for name, architecture in ARCHITECTURES.items()
  }
  return packages | files | folders


def _grouped(names: Sequence[str]) -> str:
  """Names of tensors, those of a block behind what they begin with."""
  blocks = [name.rpartition(".N.") for name in names]
  beside = [name for start, _, name in blocks if not start]
  inside = [name for start, _, name in blocks if start]
  start = next(start for start, _, _ in blocks if start)
  return f"{', '.join(beside)}; {start}.N: {', '.join(inside)}"


def _sets(*, drawn: bool) -> dict[str, str]:
  """Data sets with classes to be learned, or those that have none."""
  return {
    name: text
    for name, text in data.available().items()
    if data.is_drawn(name) == drawn
  }


def _first_lines(
  makers: Mapping[str, Callable], kind: str = ""
) -> dict[str, str]:
  """One line of documentation by call, such as "kd(temperature=4.0)"."""
  return {
    name + spec.signature_text(maker): kind + _first_line(maker.__doc__)
    for name, maker in by_file(makers).items()
  }


def _source(maker: Callable) -> str:
  return " ".join((maker.__doc__ or "").partition("Source:")[2].split())


def _first_line(text: str | None) -> str:
  return (text or "").strip().split("\n")[0]


def _block(kind: str, flag: str, lines: Mapping[str, str]) -> str:
  """A heading and one row each; what is long has its text below it."""
  width = min(max(map(len, lines), default=0), WIDTH)
  gap = "\n" + " " * (width + 4)
  rows = [
    f"  {name:{width}}{'  ' if len(name) <= width else gap}{text}".rstrip()
    for name, text in lines.items()
  ]
  return "\n".join([f"{kind} ({flag})", *rows])
