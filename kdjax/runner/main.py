"""From a command line to a command's run and its exit status."""

import shlex
import signal
import sys
from pathlib import PurePath

from kdjax import __version__
from kdjax.core import plugins
from kdjax.core.errors import (
  KdjaxError,
  close_unread,
  print_any_name,
  unknown_name,
)
from kdjax.runner import cli
from kdjax.runner.config import Experiment, experiments, flags, options
from kdjax.runner.system import cluster
from kdjax.runner.system.platform import (
  keep_programs,
  order_for_memory,
  prepare_environment,
)
from kdjax.train.devices.watchdog import Verdict
from kdjax.train.fault_tolerance import preemption

USAGE = """\
kdjax: knowledge distillation for JAX and Flax.

kdjax [distill] [--flags]             teach, distil, measure, report
kdjax text --dataset=FILE.csv         distill, for texts with labels
kdjax sweep --temperature=1,4         the same over a grid, in one program
kdjax compare METHOD ...|all          one table of methods, searched alike
kdjax cache --views=4                 what a teacher makes of each view
kdjax lm --text=FILE                  a language model teaches a smaller one
kdjax quantify                        what the student looks at, and why
kdjax soft_td                         several sources, soft labels, in rounds
kdjax synthesise                      a few learned images stand for all
kdjax reproduce RESULTS.json          run it again, and compare
kdjax compress                        one table: in few bits, pruned, timed
kdjax evaluate --from=M --text=FILE   nats a token, bits a byte of a language model
kdjax generate --from=M --prompts=F   texts behind prompts, by a language model
kdjax export --from=WORKDIR           the student alone, for other programs
kdjax list [WHAT]                     methods, models, taps --student=M, ...
kdjax plot temperature|norms          the theory's two teaching figures
kdjax COMMAND --help                  the flags of one command; --version

Without flags, or with those that name neither data nor networks, distill, sweep,
compare and cache are those of --experiment=mnist_demo; else of what stands below.
"""


# As a shell says of a program that SIGPIPE has ended.
UNREAD = 128 + signal.SIGPIPE


def main(argv: list[str]) -> int:
  """Runs one command; returns the exit status."""
  print_any_name()
  return cluster.leave(_outcome(argv))


def _outcome(argv: list[str]) -> Verdict:
  try:
    with preemption.at_once():
      status = _main(argv)
      sys.stdout.flush()
      return Verdict(status, "")
  except (KdjaxError, preemption.Stopped) as error:
    return Verdict(error.exit_status, str(error))
  except KeyboardInterrupt:
    return Verdict(130, "interrupted")
  except Exception as error:
    if isinstance(error, BrokenPipeError) and close_unread():
      return Verdict(UNREAD, "")
    return cluster.failed(error)


# What jax must be told before a plugin wakes it.
_MACHINE = ("accelerator", "host_devices", "compilation_cache")


def _import_plugins(argv: list[str]) -> None:
  """Imports what --plugins names: it may add to whatever flags and words name."""
  texts = cli.read_some(argv, ("plugins", "experiment", *_MACHINE))
  if "plugins" not in texts:
    return
  names, source = texts.pop("plugins"), texts.pop("experiment", None)
  settings = experiments.load_experiment(source) if source else Experiment()
  machine = options.with_flags(Experiment(run=settings.run), texts)
  options.check(machine)
  prepare_environment(machine.run.accelerator, machine.run.host_devices)
  keep_programs(machine.run.compilation_cache)
  cli.add_jobs(plugins.load(names))


def _main(argv: list[str]) -> int:
  _import_plugins(argv)
  words, values = cli.read(argv)
  values.pop("plugins", None)
  if values.pop("version", False):
    print(f"kdjax {__version__}")
    return 0
  command, *others = words or ["distill"]
  if command not in cli.COMMANDS:
    raise unknown_name("command", command, cli.COMMANDS)
  if not values.get("help"):
    flags.check_typed(command, values, cli.CONFIGS)
  values = cli.by_setting(command, values)
  name, source = cli.beginning(command, values)
  settings = experiments.load_experiment(source) if source else Experiment()
  settings = options.with_own_groups(settings, cli.CONFIGS[command])
  if "dataset" in values and "experiment" not in values:
    settings = cli.for_own_data(command, settings)
  if values.pop("help", False):
    print(_help(as_typed(argv[:1]), words, settings))
    return 0
  experiment = options.with_flags(settings, values)
  options.check(experiment, sweep=command == "sweep")
  prepare_environment(experiment.run.accelerator, experiment.run.host_devices)
  order_for_memory(experiment.computing.remat)
  keep_programs(experiment.run.compilation_cache)
  repeat = shlex.join(as_typed(argv))
  cli.run(cli.Call(command, others, values, name, experiment, repeat))
  return 0


def as_typed(argv: list[str]) -> list[str]:
  """Returns a command line's words as the shell was given them."""
  path = PurePath(argv[0])
  if path.suffix != ".py":
    return [path.name, *argv[1:]]
  module = path.name == "__main__.py"
  return ["python", *(["-m", "kdjax"] if module else [argv[0]]), *argv[1:]]


def _help(program: list[str], words: list[str], settings: Experiment) -> str:
  """The flags of a command, or of all, with the defaults that hold."""
  usage = USAGE.replace("\nkdjax ", f"\n{shlex.join(program)} ")
  if words:
    beginning = f"{program[-1]} {words[0]} "
    lines = usage.replace("[distill]", "distill").splitlines()
    usage = "\n".join(line for line in lines if beginning in line)
  text = cli.flags_of(words[0] if words else None, settings).get_help()
  return f"{usage}\n{text.partition(chr(10) + 'absl.flags:')[0]}"
