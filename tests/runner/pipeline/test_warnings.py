"""Warnings of runs whose figures say little."""

import numpy as np
import pytest

from kdjax.runner.config import Experiment, options
from kdjax.runner.pipeline.warnings import doubts, idle_teacher


def settings(**flags):
  return options.with_flags(Experiment(), flags)


@pytest.mark.parametrize(
  ("flags", "examples", "scored", "classes", "said"),
  [
    ({}, 400, [0, 1] * 20, 2, []),
    ({}, 3, [0, 1] * 20, 2, ["3 training images of 2 classes"]),
    ({}, 1, [0, 1] * 20, 2, ["1 training image of 2 classes"]),
    ({"images": "3"}, 400, [0, 1] * 20, 2, ["3 training images of 2 classes"]),
    ({"labels": "1"}, 400, [0, 1] * 20, 2, ["1 labelled training image of"]),
    # Two of a class are the fewest that are not a handful.
    ({}, 199, [*range(100)], 100, ["199 training images of 100 classes"]),
    ({}, 200, [*range(100)], 100, []),
    ({"seeds": "1"}, 400, [0, 1] * 20, 2, ["1 seed: there is no spread"]),
    ({"seeds": "2"}, 400, [0, 1] * 20, 2, []),
    (
      {"validation": "0.01"},
      400,
      [0, 1, 1, 0],
      2,
      ["4 images to be scored on (--validation=0.01)", "25 points"],
    ),
    ({}, 400, [0] * 40, 2, ["40 images to be scored on, none of 1 class:"]),
    ({}, 400, [0], 3, ["1 image to be scored on, none of 2 classes:"]),
  ],
)
def test_what_says_little_is_said_beforehand(
  flags, examples, scored, classes, said
):
  found = doubts(
    settings(**flags),
    examples=examples,
    labels=np.array(scored),
    classes=classes,
  )
  assert len(found) == min(len(said), 1)
  assert all(part in found[0] for part in said)
  assert all("\n" not in line for line in found)


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    ({}, ""),
    ({"teacher": "mlp(4)"}, "--teacher=mlp(4) does nothing"),
    (
      {"teacher_epochs": "3", "teacher_seed": "7"},
      "--teacher_epochs=3, --teacher_seed=7 do nothing",
    ),
    # The baseline with the teacher's views has these.
    ({"teacher_augment": "flip"}, ""),
  ],
)
def test_a_teacher_that_nobody_asks_is_said_not_to_be_trained(flags, said):
  found = idle_teacher(settings(**flags))
  assert found.endswith(said) and bool(found) == bool(said)
