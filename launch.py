"""kdjax: knowledge distillation for JAX and Flax.

python launch.py [distill] [--flags]       teach, distil, measure, report
python launch.py sweep --temperature=1,4   the same over a grid, in one program
python launch.py compare METHOD ...|all    one table of methods, searched alike
python launch.py cache --views=4            what a teacher makes of each view
python launch.py quantify                  what the student looks at, and why
python launch.py soft_td                   several sources, soft labels, in rounds
python launch.py synthesise                a few learned images stand for all
python launch.py reproduce RESULTS.json     run it again, and compare
python launch.py compress                  one table: in few bits, pruned, timed
python launch.py export --from=WORKDIR      the student alone, for other programs
python launch.py list [WHAT]               methods, models, taps --student=M, ...
python launch.py plot temperature|norms    the theory's two teaching figures
"""

import importlib
import shlex
import sys
from pathlib import Path

from absl import flags

from kdjax import cluster, config, options
from kdjax.accelerator import keep_programs, prepare_environment
from kdjax.commands import COMMANDS, DEFAULT, Call, run
from kdjax.errors import KdjaxError, UserError, unknown_name
from kdjax.watchdog import Verdict

ROOT = Path(__file__).parent


def main(argv: list[str]) -> int:
  """Runs one command; returns the exit status."""
  return cluster.leave(_outcome(argv))


def _outcome(argv: list[str]) -> Verdict:
  try:
    return Verdict(_main(argv), "")
  except KdjaxError as error:
    return Verdict(error.exit_status, str(error))
  except KeyboardInterrupt:
    return Verdict(130, "interrupted")
  except Exception as error:
    return cluster.failed(error)


def _main(argv: list[str]) -> int:
  values = _define_flags()
  try:
    command, *words = values(argv)[1:] or ["distill"]
  except flags.Error as error:
    raise UserError(f"{error} (see --help)") from None
  if values.help:
    print(f"{__doc__}\n{values.get_help()}")
    return 0
  if command not in COMMANDS:
    raise unknown_name("command", command, COMMANDS)
  name = values.experiment or DEFAULT.get(command, "mnist_demo")
  chosen = _load_experiment(name)
  if values["regime"].present and not values.experiment:
    # The demo's objective is for a teacher that knows more than its student.
    name, chosen = "regime", config.Experiment()
  experiment = options.with_flags(
    chosen,
    {
      one.flag: values[one.flag].value
      for one in options.options()
      if values[one.flag].present
    },
  )
  options.check(experiment, sweep=command == "sweep")
  prepare_environment(experiment.run.accelerator, experiment.run.host_devices)
  keep_programs(experiment.run.compilation_cache)
  repeat = shlex.join(["python", "launch.py", *argv[1:]])
  run(Call(command, words, name, experiment, repeat, _describe))
  return 0


def _define_flags() -> flags.FlagValues:
  """Makes a flag of every setting, in groups, with its help and default."""
  values = flags.FlagValues()
  values.set_gnu_getopt(True)
  shared = {"flag_values": values, "module_name": "launch"}
  flags.DEFINE_boolean("help", False, "this help", short_name="h", **shared)
  flags.DEFINE_string(
    "experiment", None, "one of `list experiments`; flags override it", **shared
  )
  for one in options.options():
    default = one.field.default
    switch = isinstance(default, bool)
    define = flags.DEFINE_boolean if switch else flags.DEFINE_string
    if default is not None and not switch:
      default = ",".join(map(str, default)) if default == () else str(default)
    define(
      one.flag,
      default,
      one.field.metadata["help"],
      flag_values=values,
      module_name=one.group,
    )
  return values


def _experiments() -> dict[str, tuple[config.Experiment, str]]:
  """All experiments with what they say of themselves; a file has one, or several."""
  found = {}
  for file in sorted((ROOT / "experiments").glob("[!_]*.py")):
    module = importlib.import_module(f"experiments.{file.stem}")
    several = getattr(module, "EXPERIMENTS", {})
    members = {f"{file.stem}/{name}": one for name, one in several.items()}
    members = members or {file.stem: module.EXPERIMENT}
    found |= {name: (one, module.__doc__) for name, one in members.items()}
  return found


def _load_experiment(name: str) -> config.Experiment:
  experiments = _experiments()
  if name not in experiments:
    raise unknown_name("experiment", name, experiments)
  return experiments[name][0]


def _describe() -> dict[str, str]:
  return {name: text for name, (_, text) in _experiments().items()}


if __name__ == "__main__":
  sys.exit(main(sys.argv))
