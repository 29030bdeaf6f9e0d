"""What a sweep refuses, where its members go, and how many fit."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.runner.config import (
  Computing,
  Distillation,
  Experiment,
  Student,
  options,
)
from kdjax.runner.config.commands import DistillConfig
from kdjax.runner.pipeline import fit, rules
from kdjax.runner.pipeline.sweep import ranking
from kdjax.runner.pipeline.validate import members_apart
from kdjax.train.arm import Arm
from kdjax.train.devices import memory
from kdjax.train.schemes.scheme import OFFLINE, by_members

KD8 = Experiment(distillation=Distillation(distillation="kd(temperature=8)"))


@pytest.mark.parametrize(
  ("given", "distillation"),
  [
    ({"temperature": "1,4"}, "kd"),
    ({"hard_weight": "0,0.5"}, "kd(temperature=8)"),
    (
      {"temperature": "1,4", "distillation": "dkd(temperature=2)"},
      "dkd(temperature=2)",
    ),
  ],
)
def test_flags_stand_against_the_objective_of_a_file(given, distillation):
  chosen = options.with_flags(KD8, given).distillation
  assert chosen.distillation == distillation


@pytest.mark.parametrize(
  ("chosen", "refused"),
  [
    (Distillation("kd", temperature=(1.0, 2.0)), None),
    (Distillation("kd(temperature=8)", temperature=(1.0, 2.0)), "temperature"),
    (
      Distillation("kd(temperature=8) + dkd", temperature=(1.0, 2.0)),
      None,
    ),
    (Distillation("attention_transfer", temperature=(1.0, 2.0)), "temperature"),
    (Distillation("attention_transfer", method_weight=(1.0, 2.0)), None),
    (Distillation("hard", method_weight=(1.0, 2.0)), "method_weight"),
  ],
)
def test_a_sweep_must_change_something(chosen, refused):
  experiment = Experiment(distillation=chosen)
  if refused is None:
    rules.check(DistillConfig, experiment)
    return
  with pytest.raises(UserError, match=f"--{refused}: sweeping it changes"):
    rules.check(DistillConfig, experiment)


@pytest.mark.parametrize(
  ("shard", "seeds", "devices", "scheme", "expected"),
  [
    ("auto", 4, 1, OFFLINE, False),
    ("auto", 4, 2, OFFLINE, True),
    ("auto", 4, 3, OFFLINE, False),
    ("members", 4, 3, OFFLINE, True),
    ("members", 1, 3, OFFLINE, "3 devices have 2 students"),
    ("batch", 4, 2, OFFLINE, False),
    ("auto", 4, 2, by_members(OFFLINE), False),
    ("members", 4, 2, by_members(OFFLINE), "lays its networks"),
  ],
)
def test_who_owns_members(shard, seeds, devices, scheme, expected):
  experiment = Experiment(
    student=Student(seeds=seeds), computing=Computing(shard=shard)
  )
  settings = {"seed": np.tile(np.arange(seeds), 2)}
  arms = {"student": Arm("all", None, settings, scheme=scheme)}
  local = jax.local_devices()[:devices]
  if isinstance(expected, bool):
    assert members_apart(experiment, arms, local) == expected
    return
  with pytest.raises(UserError, match=expected):
    members_apart(experiment, arms, local)


@pytest.mark.parametrize(
  ("share", "given", "expected"),
  [
    (0.5, {}, 9),
    (0.99, {}, 17),
    (0.01, {}, 1),
    (0.5, {"most": 8}, 3),
    (0.99, {"most": 2}, 1),
    (0.5, {"apart": True}, 4),
    (0.5, {"most": 1}, None),
    (0.5, {"together": False}, None),
    (0.5, {"members_at_once": 20}, None),
  ],
)
def test_fewer_members_where_memory_is_short(share, given, expected):
  given = dict(given)
  chosen = Computing(members_at_once=given.pop("members_at_once", None))
  setup = SimpleNamespace(
    experiment=dataclasses.replace(Experiment(), computing=chosen),
    devices=jax.local_devices()[:2],
  )
  known = {"members": 20, "most": None, "apart": False, "together": True}
  train_spec = SimpleNamespace(**known | given)
  error = memory.DoesNotFit("too much", share)
  if expected is None:
    with pytest.raises(memory.DoesNotFit):
      fit.fewer(setup, train_spec, error)
    return
  assert fit.fewer(setup, train_spec, error) == expected


NAN = np.nan


@pytest.mark.parametrize(
  ("scores", "better", "ties", "expected"),
  [
    ([[0.5, 0.7], [0.9, 0.9], [0.6, 0.6]], 1, 0.0, [1, 0, 2]),
    ([[0.5], [0.9], [0.6]], -1, 0.0, [0, 2, 1]),
    # Of equal ones the first, unless something else decides.
    ([[0.5], [0.5], [0.5]], 1, 0.0, [0, 1, 2]),
    ([[0.5], [0.5], [0.9]], 1, [3.0, 2.0, 9.0], [2, 1, 0]),
    ([[0.5], [0.5]], 1, [NAN, 2.0], [1, 0]),
    # What is no number is the best in neither direction.
    ([[NAN], [0.5], [0.9]], 1, 0.0, [2, 1, 0]),
    ([[NAN, 0.1], [0.5, 0.5]], -1, 0.0, [1, 0]),
  ],
)
def test_cells_are_ranked(scores, better, ties, expected):
  assert ranking(np.array(scores), better, ties).tolist() == expected
