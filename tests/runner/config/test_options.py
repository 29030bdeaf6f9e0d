"""Settings: read from text, checked, written out."""

import dataclasses
import json
import re

import pytest
from documented_code import code_of, loaded, page

import launch
from kdjax.core.errors import UserError
from kdjax.core.spec import Spec
from kdjax.runner.cli import CONFIGS
from kdjax.runner.config import Experiment, Interval, options
from kdjax.runner.config.field import COUNT, option
from kdjax.runner.config.run import Workdir


def setting(experiment, flag):
  one = next(one for one in options.options() if one.flag == flag)
  return getattr(getattr(experiment, one.group), one.field.name)


@pytest.mark.parametrize(
  ("flag", "text", "expected"),
  [
    ("temperature", "8", 8.0),
    ("temperature", "1,2,4", (1.0, 2.0, 4.0)),
    ("temperature", "linear(8, 1, 9)", Spec("linear", (8, 1, 9))),
    ("hard_weight", "none", None),
    ("epochs", "3", 3),
    ("omit_classes", "3", (3,)),
    ("omit_classes", "3,5", (3, 5)),
    ("labels", "100", 100),
    ("dataset", "3", "3"),
    ("controls", False, False),
    ("learning_rate", "1e-3,1e-2", (1e-3, 1e-2)),
    ("learning_rate", "1", 1.0),
    ("search_rates", "1", (1.0,)),
    ("search_rates", "1e-3,1e-2", (1e-3, 1e-2)),
  ],
)
def test_with_flags(flag, text, expected):
  assert (
    setting(options.with_flags(Experiment(), {flag: text}), flag) == expected
  )


@pytest.mark.parametrize(
  ("flag", "text", "expected"),
  [
    ("mesh", "data=2", None),
    ("teacher_from", "runs/x", None),
    # A view, and no cache.
    ("reference_augment", "shift(2)", "none"),
    ("compilation_cache", "folder", "none"),
  ],
)
def test_none_takes_a_text_back_that_can_be_none(flag, text, expected):
  experiment = options.with_flags(Experiment(), {flag: text})
  experiment = options.with_flags(experiment, {flag: "none"})
  assert setting(experiment, flag) == expected


@pytest.mark.parametrize(
  ("interval", "inside", "outside", "text"),
  [
    (Interval(0, ends="()"), [1e-9, 1e9], [0, -1], "> 0"),
    (Interval(1), [1, 2], [0.5], ">= 1"),
    (Interval(0, 1), [0, 0.5], [1, -0.1], "in [0, 1)"),
    (Interval(0, 1, "[]"), [0, 1], [1.1], "in [0, 1]"),
  ],
)
def test_interval(interval, inside, outside, text):
  assert all(value in interval for value in inside)
  assert not any(value in interval for value in outside)
  assert float("nan") not in interval
  assert str(interval) == text


def test_settings_are_frozen_and_json():
  with pytest.raises(dataclasses.FrozenInstanceError):
    Experiment().student.epochs = 3
  settings = options.as_dict(
    options.with_flags(Experiment(), {"temperature": "linear(8, 1, 9)"})
  )
  assert json.loads(json.dumps(settings))["distillation"]["temperature"] == (
    "linear(8, 1, 9)"
  )
  assert sum(map(len, settings.values())) == len(list(options.options()))


def test_every_option_has_help_and_a_flag_of_its_own():
  every = list(options.options())
  assert all(one.field.metadata["help"] for one in every)
  assert len({one.flag for one in every}) == len(every)


def test_sweep_needs_a_grid():
  options.check(
    options.with_flags(Experiment(), {"temperature": "1,4"}), sweep=True
  )
  with pytest.raises(UserError, match="several values"):
    options.check(Experiment(), sweep=True)


@pytest.mark.parametrize(
  ("flag", "text", "twice"),
  [
    ("temperature", "1,1", "1"),
    ("temperature", "1,4,1.0", "1"),
    ("learning_rate", "0.1,1e-1", "0.1"),
    ("label_smoothing", "0,0.1,0", "0"),
  ],
)
def test_a_value_of_a_sweep_stands_once(flag, text, twice):
  swept = options.with_flags(Experiment(), {flag: text})
  with pytest.raises(UserError, match=f"{flag}=.*: {twice} stands there twice"):
    options.check(swept, sweep=True)


@dataclasses.dataclass(frozen=True)
class Counting:
  """Settings of one command alone."""

  most: int = option(3, "how many", within=COUNT)


@dataclasses.dataclass(frozen=True)
class CountConfig:
  """A command with a group of its own."""

  counting: Counting = Counting()
  workdir: Workdir = Workdir()


def test_a_command_may_have_settings_of_its_own():
  found = [(one.group, one.flag) for one in options.options(CountConfig)]
  assert found == [("counting", "most"), ("run", "workdir")]
  settings = options.with_own_groups(Experiment(), CountConfig)
  assert settings.counting == Counting()
  settings = options.with_flags(settings, {"most": "4", "workdir": "x"})
  assert (settings.counting.most, settings.run.workdir) == (4, "x")
  assert options.as_dict(settings)["counting"] == {"most": 4}
  bad = options.with_flags(settings, {"most": "0"})
  with pytest.raises(UserError, match="--most=0: it must be >= 1"):
    options.check(bad)


def test_the_flags_of_such_a_command_are_its_own(monkeypatch, capsys):
  monkeypatch.setitem(CONFIGS, "plot", CountConfig)
  assert launch.main(["launch.py", "plot", "--help"]) == 0
  assert "--most: how many" in capsys.readouterr().out
  for words in (["plot", "--most=0"], ["distill", "--most=4"]):
    assert launch.main(["launch.py", *words]) == 2
  said = capsys.readouterr().err.splitlines()
  assert said[0].startswith("launch.py: --most=0: it must be >= 1")
  assert "distill has no such flag; plot has it" in said[1]


def test_the_page_says_which_flags_its_command_has(tmp_path):
  text = page("settings.md")
  said = re.search(r"Its flags are ((?:`\w+`\s*)+)", text)[1]
  with loaded(code_of(text), tmp_path / "histogram.py") as module:
    every = options.options(module.HistogramConfig)
    assert {one.flag for one in every} == set(re.findall(r"\w+", said))
