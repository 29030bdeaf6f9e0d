"""What there is to choose from, for `launch.py list`."""

import inspect
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from kdjax import data, taps
from kdjax.config import AUTO, Experiment
from kdjax.errors import UserError, unknown_name
from kdjax.methods import FAMILIES, MAKERS, PRESETS
from kdjax.models import MAKERS as MODELS
from kdjax.models import make_model
from kdjax.schedule import SCHEDULES
from kdjax.train.learners import MAKERS as LEARNERS
from kdjax.train.optimizer import OPTIMIZERS, SHAPES

# Names longer than this have a line of their own.
WIDTH = 36


def listing(
  words: Sequence[str],
  *,
  experiments: Mapping[str, str],
  experiment: Experiment | None = None,
) -> str:
  """Writes out the names that flags take, each with one line.

  Args:
    words: what to list; nothing lists whatever flags take.
    experiments: docstring of every experiment by name.
    experiment: whose student and data `taps` lists; the defaults otherwise.

  Returns:
    Text for the terminal.

  Raises:
    UserError: for something that cannot be listed.

  Example:
    >>> print(listing(["experiments"], experiments={"a": "Does this.\\n\\nMore."}))
    experiments (--experiment)
      a  Does this.
  """
  kinds = {
    "methods": ("--distillation", _methods()),
    "sources": (
      "whom to cite",
      {name: _source(maker) for name, maker in MAKERS.items()},
    ),
    "regimes": ("--regime", _first_lines(LEARNERS)),
    "models": ("--teacher, --student", _first_lines(MODELS)),
    "datasets": ("--dataset", data.available()),
    "experiments": (
      "--experiment",
      {name: _first_line(text) for name, text in experiments.items()},
    ),
    "optimizers": ("--optimizer", dict.fromkeys(OPTIMIZERS, "As in optax.")),
    "schedules": ("--schedule, --temperature, --hard_weight", _schedules()),
  }
  for word in words:
    if word not in (*kinds, "taps"):
      raise unknown_name("listing", word, [*kinds, "taps"])
  if "taps" in words:
    experiment = experiment or Experiment()
    kinds["taps"] = (f"of {experiment.student.model}", _taps(experiment))
  unasked = [kind for kind in kinds if kind != "sources"]
  return "\n\n".join(_block(kind, *kinds[kind]) for kind in words or unasked)


def _taps(experiment: Experiment) -> dict[str, str]:
  """Every place of the student that can be tapped, with what is there."""
  model, chosen = experiment.student.model, experiment.data
  if model == AUTO:
    raise UserError(
      "list taps: name a network, such as --student='lenet(8, 16)'"
    )
  make_model(model, classes=2)
  dataset = data.load(
    chosen.dataset, data_dir=chosen.data_dir, image_size=chosen.image_size
  )
  image_shape = dataset.image_shape
  network = make_model(model, classes=dataset.classes)
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


def _methods() -> dict[str, str]:
  families = {
    name: f"Family; stands for {default}." for name, default in FAMILIES.items()
  }
  presets = {name: f"Preset; {text}." for name, text in PRESETS.items()}
  return _first_lines(MAKERS) | families | presets


def _schedules() -> dict[str, str]:
  rates = dict.fromkeys(
    SHAPES, "Fall of the learning rate; takes warmup=SHARE."
  )
  return rates | {
    f"{name}(...)": "Value that changes with the step." for name in SCHEDULES
  }


def _first_lines(makers: Mapping[str, Callable]) -> dict[str, str]:
  """One line of documentation by call, such as "kd(temperature=4.0)"."""
  return {
    name + written(maker): _first_line(maker.__doc__)
    for name, maker in makers.items()
  }


def written(maker: Callable) -> str:
  """Writes out the arguments of a maker that a user may set.

  Args:
    maker: of a method or a model.

  Returns:
    Such as "(temperature=4.0)", or "" where there are none; what the run itself
    knows (classes, examples, steps) is left out.

  Example:
    >>> written(lambda width, *, classes, dropout=0.5: None)
    '(width, dropout=0.5)'
  """
  parts = [
    str(parameter.replace(annotation=parameter.empty))
    for name, parameter in inspect.signature(maker).parameters.items()
    if name not in ("classes", "examples", "steps")
  ]
  return f"({', '.join(parts)})" if parts else ""


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
