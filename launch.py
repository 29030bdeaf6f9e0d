"""kdjax: knowledge distillation for JAX and Flax.

python launch.py [distill] [--flags]       teach, distil, measure, report
python launch.py sweep --temperature=1,4   the same over a grid, in one program
python launch.py quantify                  what the student looks at, and why
python launch.py list [WHAT]               methods, models, datasets, ...
python launch.py plot temperature|norms    the theory's two teaching figures
"""

import importlib
import shlex
import sys
from pathlib import Path

from absl import flags

from kdjax import config, options
from kdjax.accelerator import prepare_environment
from kdjax.errors import KdjaxError, UserError, unknown_name

ROOT = Path(__file__).parent
DEFAULT = {"quantify": "spurious_background"}
HALLWAYS = {
  "distill": "kdjax.run",
  "sweep": "kdjax.run",
  "quantify": "kdjax.explain.run",
}


def main(argv: list[str]) -> int:
  """Runs one command; returns the exit status."""
  try:
    return _main(argv)
  except KdjaxError as error:
    print(f"launch.py: {error}", file=sys.stderr)
    return error.exit_status
  except KeyboardInterrupt:
    print("launch.py: interrupted", file=sys.stderr)
    return 130
  except Exception as error:
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(
      error
    ):
      raise
    print(
      "launch.py: out of memory; lower --seeds or --batch_size", file=sys.stderr
    )
    return 70


def _main(argv: list[str]) -> int:
  values = _define_flags()
  try:
    command, *words = values(argv)[1:] or ["distill"]
  except flags.Error as error:
    raise UserError(f"{error} (see --help)") from None
  if values.help:
    print(f"{__doc__}\n{values.get_help()}")
    return 0
  commands = dict.fromkeys(HALLWAYS, _run) | {"list": _list, "plot": _plot}
  if command not in commands:
    raise unknown_name("command", command, commands)
  name = values.experiment or DEFAULT.get(command, "mnist_demo")
  experiment = options.with_flags(
    _load_experiment(name),
    {
      one.flag: values[one.flag].value
      for one in options.options()
      if values[one.flag].present
    },
  )
  options.check(experiment, sweep=command == "sweep")
  prepare_environment(experiment.run.accelerator, experiment.run.host_devices)
  repeat = shlex.join(["python", "launch.py", *argv[1:]])
  commands[command](words, command, name, experiment, repeat)
  return 0


def _define_flags() -> flags.FlagValues:
  """Makes a flag of every setting, in groups, with its help and default."""
  values = flags.FlagValues()
  values.set_gnu_getopt(True)
  shared = {"flag_values": values, "module_name": "launch"}
  flags.DEFINE_boolean(
    "help", False, "show this help", short_name="h", **shared
  )
  flags.DEFINE_string(
    "experiment", None, "a file in experiments/; flags override it", **shared
  )
  for one in options.options():
    default = one.field.default
    define = flags.DEFINE_string
    if isinstance(default, bool):
      define = flags.DEFINE_boolean
    elif default is not None:
      default = ",".join(map(str, default)) if default == () else str(default)
    define(
      one.flag,
      default,
      one.field.metadata["help"],
      flag_values=values,
      module_name=one.group,
    )
  return values


def _experiments() -> dict[str, Path]:
  files = (ROOT / "experiments").glob("*.py")
  return {file.stem: file for file in sorted(files) if file.stem[0] != "_"}


def _load_experiment(name: str) -> config.Experiment:
  if name not in _experiments():
    raise unknown_name("experiment", name, _experiments())
  return importlib.import_module(f"experiments.{name}").EXPERIMENT


def _run(words, command, name, experiment, repeat) -> None:
  if words:
    raise UserError(
      f"{command} takes no further words, got {' '.join(words)!r}"
    )
  hallway = importlib.import_module(HALLWAYS[command])
  hallway.run(experiment, name=name, command=repeat)


def _list(words, command, name, experiment, repeat) -> None:
  from kdjax import catalogue

  descriptions = {
    file: importlib.import_module(f"experiments.{file}").__doc__
    for file in _experiments()
  }
  print(catalogue.listing(words, experiments=descriptions))


def _plot(words, command, name, experiment, repeat) -> None:
  from kdjax.report import record
  from kdjax.workdir import claim

  figure = " ".join(words)
  if figure not in record.FIGURES:
    raise unknown_name("figure", figure, record.FIGURES)
  workdir = claim(experiment.run.workdir, f"plot-{figure}")
  print(*record.write_figure(workdir, figure), sep="\n")


if __name__ == "__main__":
  sys.exit(main(sys.argv))
