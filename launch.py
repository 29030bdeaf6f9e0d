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
python launch.py COMMAND --help             the flags of one command; --version

Without flags, or with those that name neither data nor networks, distill, sweep,
compare and cache are those of --experiment=mnist_demo; else of what stands below.
"""

import importlib
import shlex
import sys
from pathlib import Path

from kdjax import __version__
from kdjax.core.errors import KdjaxError, print_any_name, unknown_name
from kdjax.runner import cli, config
from kdjax.runner.cli import COMMANDS, Call, beginning, run
from kdjax.runner.config import flags, options
from kdjax.runner.config.commands import CONFIGS
from kdjax.runner.system import cluster
from kdjax.runner.system.platform import keep_programs, prepare_environment
from kdjax.train.devices.watchdog import Verdict
from kdjax.train.fault_tolerance import preemption

ROOT = Path(__file__).parent


def main(argv: list[str]) -> int:
  """Runs one command; returns the exit status."""
  print_any_name()
  return cluster.leave(_outcome(argv))


def _outcome(argv: list[str]) -> Verdict:
  try:
    with preemption.at_once():
      return Verdict(_main(argv), "")
  except (KdjaxError, preemption.Stopped) as error:
    return Verdict(error.exit_status, str(error))
  except KeyboardInterrupt:
    return Verdict(130, "interrupted")
  except Exception as error:
    return cluster.failed(error)


def _main(argv: list[str]) -> int:
  words, typed = cli.read(argv)
  if typed.pop("version", False):
    print(f"kdjax {__version__}")
    return 0
  command, *others = words or ["distill"]
  if command not in COMMANDS:
    raise unknown_name("command", command, COMMANDS)
  if not typed.get("help"):
    flags.check_typed(command, typed, CONFIGS)
  name, started = beginning(command, typed)
  chosen = _load_experiment(started) if started else config.Experiment()
  if typed.pop("help", False):
    print(_help(words, chosen))
    return 0
  experiment = options.with_flags(chosen, typed)
  options.check(experiment, sweep=command == "sweep")
  prepare_environment(experiment.run.accelerator, experiment.run.host_devices)
  keep_programs(experiment.run.compilation_cache)
  repeat = shlex.join(["python", "launch.py", *argv[1:]])
  run(Call(command, others, typed, name, experiment, repeat, _describe))
  return 0


def _help(words: list[str], chosen: config.Experiment) -> str:
  """The flags of a command, or of all, with the defaults that hold."""
  called = f"launch.py {words[0]} " if words else ""
  said = __doc__.replace("[distill]", "distill") if words else __doc__
  lines = [line for line in said.splitlines() if called in line]
  text = cli.flags_of(words[0] if words else None, chosen).get_help()
  return "\n".join([*lines, text.partition("\nabsl.flags:")[0]])


def _experiments() -> dict[str, tuple[config.Experiment, str]]:
  """All experiments by name, each with what its file says behind its name."""
  found = {}
  for file in sorted((ROOT / "experiments").glob("[!_]*.py")):
    module = importlib.import_module(f"experiments.{file.stem}")
    several = getattr(module, "EXPERIMENTS", None)
    text = module.__doc__
    for name, one in (several or {file.stem: module.EXPERIMENT}).items():
      found[name] = one, text.partition(f"\n{name}: ")[2] or text
  return dict(sorted(found.items()))


def _load_experiment(name: str) -> config.Experiment:
  experiments = _experiments()
  if name not in experiments:
    raise unknown_name("experiment", name, experiments)
  return experiments[name][0]


def _describe() -> dict[str, str]:
  return {name: text for name, (_, text) in _experiments().items()}


if __name__ == "__main__":
  sys.exit(main(sys.argv))
