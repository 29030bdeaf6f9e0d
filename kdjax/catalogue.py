"""What there is to choose from, for `launch.py list`."""

import inspect
from collections.abc import Callable, Mapping, Sequence

from kdjax import data
from kdjax.errors import unknown_name
from kdjax.methods import FAMILIES, MAKERS, PRESETS
from kdjax.models import MAKERS as MODELS
from kdjax.schedule import SCHEDULES
from kdjax.train.optimizer import OPTIMIZERS, SHAPES


def listing(words: Sequence[str], *, experiments: Mapping[str, str]) -> str:
  """Writes out the names that flags take, each with one line.

  Args:
    words: what to list; nothing lists everything.
    experiments: docstring of every experiment by name.

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
    if word not in kinds:
      raise unknown_name("listing", word, kinds)
  return "\n\n".join(_block(kind, *kinds[kind]) for kind in words or kinds)


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
    name + _arguments(maker): _first_line(maker.__doc__)
    for name, maker in makers.items()
  }


def _arguments(maker: Callable) -> str:
  """The arguments that a user may write; the classes come from the data."""
  written = [
    str(parameter.replace(annotation=parameter.empty))
    for name, parameter in inspect.signature(maker).parameters.items()
    if name != "classes"
  ]
  return f"({', '.join(written)})" if written else ""


def _first_line(text: str | None) -> str:
  return (text or "").strip().split("\n")[0]


def _block(kind: str, flag: str, lines: Mapping[str, str]) -> str:
  width = max(map(len, lines), default=0)
  rows = [f"  {name:{width}}  {text}".rstrip() for name, text in lines.items()]
  return "\n".join([f"{kind} ({flag})", *rows])
