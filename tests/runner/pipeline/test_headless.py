"""A teacher without its classifier teaches by its features alone."""

import dataclasses
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from kdjax.core.errors import UserError
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.runner.config import Experiment, Teacher, Teaching
from kdjax.runner.pipeline import headless
from kdjax.tasks import classification
from kdjax.train.schemes.scheme import OFFLINE

NETWORK = "cifar_resnet(8, (4, 4, 8, 8))"


def check(distillation, teacher="teacher", head="drop", **teaching):
  method = make_objective(distillation, steps=10, examples=4, classes=3)
  arm = SimpleNamespace(
    method=lambda settings: method,
    settings={"seed": [0]},
    teacher=teacher,
    scheme=OFFLINE,
  )
  experiment = dataclasses.replace(
    Experiment(),
    teacher=Teacher(teacher_head=head),
    teaching=Teaching(**teaching),
  )
  network = make_model(NETWORK, classes=3)
  sample = jnp.zeros((1, 16, 16, 3))
  headless.check(
    experiment,
    {"student": arm},
    network,
    network,
    sample,
    classification(3),
  )


@pytest.mark.parametrize(
  "distillation",
  [
    "fitnets:1 + ce",
    "hard",
    pytest.param("attention_transfer", marks=pytest.mark.slow),
    pytest.param("crd", marks=pytest.mark.slow),
  ],
)
def test_methods_that_look_at_features_alone_learn_from_it(distillation):
  check(distillation)


@pytest.mark.parametrize(
  "distillation",
  ["kd", "srrl", "kd:after(0.5, 1.0) + fitnets:1"],
)
def test_methods_that_read_its_answers_are_refused(distillation):
  with pytest.raises(UserError, match="learn from the teacher's answers"):
    check(distillation)
  check(distillation, head="keep")
  check(distillation, teacher=None)


def test_stand_ins_need_answers_too():
  with pytest.raises(UserError, match="learn from the teacher's answers"):
    check("fitnets:1 + ce", teacher="shuffled_teacher")
