"""Every setting: what it does not take, and that a run does not go on without it."""

import typing

import pytest

import launch
from kdjax.core.errors import UserError
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict, options
from kdjax.runner.system.workdir import FREE, claim

ALL = list(options())


def types_of(one):
  return {one.type, *typing.get_args(one.type)}


def bad_values(one):
  """Texts that a flag must refuse: of another type, or outside of its bounds."""
  types, within = types_of(one), one.field.metadata["within"]
  choices = one.field.metadata["choices"]
  if bool in types:
    return ["perhaps", "2"]
  if choices:
    return [f"{choices[0]}x", "nothing"]
  if str in types:
    return []
  found = ["word", "1..2", "nan", "[1"]
  if float not in types:
    found += ["1.5", "1e999"]
  if within:
    found.append(f"{within.low - 1:g}")
    found += [f"{within.low:g}"] * (within.ends[0] == "(")
    found += [f"{within.high:g}"] * (within.ends[1] == ")")
    found += ["1e12"] * (within.high < 1e12)
  return found


BAD = {one.flag: bad_values(one) for one in ALL}


def test_the_table_is_long():
  assert sum(map(len, BAD.values())) >= 200


@pytest.mark.parametrize("flag", [flag for flag in BAD if BAD[flag]])
def test_bad_values(flag, tmp_path, capsys):
  workdir = tmp_path / "run"
  for text in BAD[flag]:
    arguments = [f"--workdir={workdir}", f"--{flag}={text}"]
    assert launch.main(["launch.py", *arguments]) == 2, text
    message = capsys.readouterr().err
    assert flag in message and len(message.strip().splitlines()) <= 3, message
    assert not workdir.exists()


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs") / "run"
  return claim(str(folder), "name", as_dict(Experiment()), resume=True)


def test_a_run_goes_on_with_its_own_settings_alone(unfinished):
  for group, name in [(one.group, one.field.name) for one in ALL]:
    settings = as_dict(Experiment())
    settings[group] = settings[group] | {name: "another"}
    if (group, name) in FREE:
      assert claim(str(unfinished), "name", settings, resume=True) == unfinished
      continue
    with pytest.raises(UserError, match=name):
      claim(str(unfinished), "name", settings, resume=True)
