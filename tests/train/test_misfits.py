"""What does not fit is told in one line, before anything is compiled."""

import jax
import numpy as np
import optax
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.models import make_model

IMAGES = np.zeros((6, 4, 4, 1), np.float32)
BATCH = {"image": IMAGES, "label": np.zeros(6, np.int32), "name": ["a"] * 6}
TASK = kdjax.tasks.classification(4)
STUDENT, TEN = (
  kdjax.from_linen(make_model("mlp(8)", classes=classes)) for classes in (4, 10)
)
MAPS = STUDENT._replace(
  apply=lambda *known, **options: (
    STUDENT.apply(*known, **options)[0][:, None],
    {},
    known[0],
  )
)


def teacher_of(network):
  variables = network.init(jax.random.key(1), IMAGES[:1])
  return kdjax.live_teacher(network, variables)


STORED = kdjax.stored_teacher(np.zeros((6, 4), np.float32))
FITS = [
  ("kd", STUDENT, teacher_of(STUDENT), BATCH),
  ("hard", STUDENT, None, {"image": IMAGES}),
  ("fitnets:1 + ce", STUDENT, teacher_of(TEN), BATCH),
  ("crd", STUDENT, teacher_of(TEN), {**BATCH, "index": np.arange(6)}),
  ("kd", STUDENT, STORED, {**BATCH, "index": np.arange(6)}),
]
MISFITS = [
  ("kd", STUDENT, None, BATCH, "teacher: the method learns from a teacher"),
  ("kd", STUDENT, teacher_of(TEN), BATCH, r"\(6, 10\), the student \(6, 4\)"),
  ("hard", STUDENT, None, {"images": IMAGES}, "no entry 'image'.*images"),
  ("kd", STUDENT, STORED, BATCH, "stored answers.*'index'.*image, label"),
  ("crd", STUDENT, teacher_of(TEN), BATCH, "remembers.*'index'"),
  ("hard", MAPS, None, BATCH, r"student.*\(6, C\).*\(6, 1, 4\)"),
  (
    "fitnets(student_tap='stag_0'):1 + ce", STUDENT, teacher_of(TEN), BATCH,
    "the student's tap 'stag_0'.*'stage_0'",
  ),
  (
    "fitnets(teacher_tap='stag_0'):1 + ce", STUDENT, teacher_of(TEN), BATCH,
    "the teacher's tap 'stag_0'.*'stage_0'",
  ),
]  # fmt: skip


NAN = kdjax.stored_teacher(np.full((6, 4), np.nan, np.float32))


def goal(method, student):
  made = kdjax.make_method(method, task=TASK, steps=9, examples=6)
  return kdjax.objective(made, student, TASK)


@pytest.mark.parametrize(("method", "student", "teacher", "batch"), FITS)
def test_what_fits_passes(method, student, teacher, batch):
  kdjax.check(goal(method, student), optax.sgd(0.1), batch, teacher)


@pytest.mark.parametrize(
  ("method", "student", "teacher", "batch", "words"), MISFITS
)
def test_a_misfit_is_told_in_one_line(method, student, teacher, batch, words):
  with pytest.raises(UserError, match=words) as error:
    kdjax.check(goal(method, student), optax.sgd(0.1), batch, teacher)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("optimizer", "teacher", "words"),
  [
    (0.1, None, "optimizer.*float"),
    (optax.sgd(0.1), TEN, "teacher: .*got Network"),
    (optax.sgd(0.1), NAN, r"teacher: answers, \(6, 4\), has nan"),
  ],
)
def test_what_is_no_argument_is_told(optimizer, teacher, words):
  with pytest.raises(UserError, match=words):
    kdjax.check(goal("kd", STUDENT), optimizer, BATCH, teacher)


def test_a_step_tells_it_as_well():
  step = kdjax.make_step(goal("kd", STUDENT), optax.sgd(0.1))
  teacher = teacher_of(TEN)
  state = step.init(jax.random.key(0), None, teacher, BATCH)
  with pytest.raises(UserError, match="the student"):
    step.step(state, teacher, BATCH)
