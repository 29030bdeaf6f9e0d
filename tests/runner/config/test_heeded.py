"""Which flags each command takes, what it refuses, and what --help shows."""

import re

import pytest

import launch
from kdjax.core.errors import UserError
from kdjax.runner import cli
from kdjax.runner.config import Experiment, heeded, options

ALL = list(options.options())
# Their numbers of flags, so that a change is seen; counted by hand when written.
FEWEST = {"export": 7, "reproduce": 2, "list": 7, "plot": 4}
PAIRS = [
  (command, one)
  for command in cli.COMMANDS
  for one in ALL
  if one.flag not in heeded.HEEDED[command]
]


def typed(one):
  """A setting at its default, as it is typed: the hardest case to see."""
  default = one.field.default
  if isinstance(default, bool):
    return f"--{'' if default else 'no'}{one.flag}"
  return options.as_flag(one, default)


def test_every_command_says_what_it_heeds():
  assert set(heeded.HEEDED) == set(cli.COMMANDS)
  known = {one.flag for one in ALL}
  assert all(flags <= known for flags in heeded.HEEDED.values())
  assert known == set().union(*heeded.HEEDED.values())
  found = {name: len(heeded.HEEDED[name]) for name in FEWEST}
  assert found == FEWEST
  assert len(PAIRS) > 600


def test_another_commands_flag_is_refused_also_at_its_default():
  """All pairs of a command and a flag that it does not heed."""
  for command, one in PAIRS:
    with pytest.raises(UserError) as error:
      heeded.check(command, [one.flag], Experiment())
    message = str(error.value)
    assert message.startswith(typed(one)) and command in message, message
    assert "\n" not in message


def test_what_a_command_heeds_is_not_refused():
  for command, flags in heeded.HEEDED.items():
    heeded.check(command, flags, Experiment())


@pytest.mark.parametrize("command", [*cli.COMMANDS])
def test_the_help_of_a_command_shows_its_flags_alone(command, capsys):
  assert launch.main(["launch.py", command, "--help"]) == 0
  text = capsys.readouterr().out
  shown = set(re.findall(r"--(?:\[no\])?([a-z_]+):", text))
  shown -= {"help", "version", "experiment"}
  assert shown == heeded.HEEDED[command]
  assert f"launch.py {command}" in text or command == "distill"
  assert ("--experiment:" in text) == (command not in heeded.APART)


@pytest.mark.parametrize(
  ("arguments", "flag", "default"),
  [
    # The plain ones, not the demo's 0.2.
    (["--help"], "label_smoothing", "0.1"),
    (["distill", "--help"], "label_smoothing", "0.1"),
    (["distill", "--help"], "distillation", "response"),
    (["distill", "--help"], "teacher_augment", "none"),
    (
      ["distill", "--help", "--experiment=mnist_demo"],
      "label_smoothing",
      "0.2",
    ),
    (["compress", "--help"], "sparsity", "0.8"),
    (["soft_td", "--help"], "labels", "150"),
    (["quantify", "--help"], "dataset", "cluttered_digits"),
    (["synthesise", "--help"], "student", "mlp(64)"),
  ],
)
def test_the_defaults_of_help_are_the_true_ones(
  arguments, flag, default, capsys
):
  assert launch.main(["launch.py", *arguments]) == 0
  text = " ".join(capsys.readouterr().out.split())
  _, _, behind = text.partition(f" --{flag}: ")
  said = re.split(r" --(\[no\])?\w+: ", behind)[0]
  assert f"(default: '{default}')" in said, said


def test_version(capsys):
  assert launch.main(["launch.py", "--version"]) == 0
  assert re.fullmatch(r"kdjax \d+\.\d+\.\d+\n", capsys.readouterr().out)
