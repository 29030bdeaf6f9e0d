"""What does not fit is told in one line, before anything is compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.core.task import batch_of
from kdjax.core.teacher import check_examples, observe
from kdjax.models import make_model
from kdjax.train.misfits import check_teacher

IMAGES = np.zeros((6, 4, 4, 1), np.float32)
BATCH = {"image": IMAGES, "label": np.zeros(6, np.int32), "name": ["a"] * 6}
TASK = kdjax.tasks.classification(4)
STUDENT, TEN, ONE = (
  kdjax.from_linen(make_model("mlp(8)", classes=classes))
  for classes in (4, 10, 1)
)
MAPS = STUDENT._replace(
  apply=lambda *known, **options: (
    STUDENT.apply(*known, **options)[0][:, None],
    {},
    known[0],
  )
)


@functools.cache
def teacher_of(network):
  variables = jax.jit(network.init)(jax.random.key(1), IMAGES[:1])
  return kdjax.live_teacher(network, variables)


def whole_numbers(variables, images, *, train, rngs):
  return (images.reshape(6, -1) @ variables["kernel"]).astype(int)


CHOICES = kdjax.from_apply(
  whole_numbers, init=lambda key, images: {"kernel": np.ones((16, 4))}
)
STORED = kdjax.stored_teacher(np.zeros((6, 4), np.float32))
BEYOND = {**BATCH, "index": np.arange(1, 7)}
HOLED = np.where(np.arange(6)[:, None, None, None] == 4, np.nan, IMAGES)
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
  ("kd", STUDENT, STORED, BEYOND, "'index' has the place 6, .*the places 0 to 5"),
  ("hard", TEN, None, BATCH, r"student: it answers \(6, 10\), .* reads 4 numbers"),
  ("kd", TEN, teacher_of(TEN), BATCH, "the network with 4, or the task with 10"),
  ("kd", ONE, teacher_of(ONE), BATCH, r"with 4, or take the task multilabel\(1\)"),
  ("hard", CHOICES, None, BATCH, "student: its answers are int.*floating"),
  (
    "hard", STUDENT, None, {**BATCH, "label": np.zeros(5, int)},
    r"'image' has the shape \(6, 4, 4, 1\), 'label' \(5,\)",
  ),
  ("hard", STUDENT, None, {**BATCH, "weight": np.ones(5)}, r"'weight' \(5,\)"),
  (
    "hard", STUDENT, None, {**BATCH, "index": np.zeros(6)},
    "'index' has the shape .*float.*one whole number an example",
  ),
  ("hard", STUDENT, None, {**BATCH, "image": HOLED}, "'image' has nan.*row 4"),
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


# One number is enough: of example 4 the answer to class 1.
ONE_NAN = np.where(np.arange(24).reshape(6, 4) == 17, np.nan, np.float32(0))
NAN = kdjax.stored_teacher(ONE_NAN)


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


def test_first_parameters_are_those_of_the_tasks_classes():
  with pytest.raises(UserError, match="make the network with 4"):
    goal("hard", TEN).init(jax.random.key(0), None, None, BATCH)


@pytest.mark.parametrize(
  ("rows", "examples", "fits"),
  [(6, 6, True), (12, 6, True), (4, 6, False), (7, 6, False), (3, 6, False)],
)
def test_stored_answers_are_to_all_examples(rows, examples, fits):
  teacher = kdjax.stored_teacher(np.zeros((rows, 4), np.float32))
  both = kdjax.ensemble([STORED, teacher])
  for one in (teacher, both):
    if fits:
      check_examples(one, examples)
      continue
    with pytest.raises(UserError, match=f"to {rows} examples, and there are 6"):
      check_examples(one, examples)


@pytest.mark.parametrize(
  ("index", "weight", "views", "finite"),
  [
    ([0, 5], [1, 1], False, [True, True]),
    ([6, 5], [1, 1], False, [False, True]),
    ([-1, 5], [1, 1], False, [False, True]),
    # Padding may say anything.
    ([6, -1], [0, 0], False, [True, True]),
    # Places of views are known modulo the examples.
    ([0, 5], [1, 1], True, [True, True]),
  ],
)
def test_answers_that_are_not_there_are_nan(index, weight, views, finite):
  index = jnp.array(index)
  extra = {"place": index + 6} if views else {}
  batch = batch_of(
    jnp.zeros((2, 3)), weight=jnp.array(weight), index=index, **extra
  )
  shown = observe(STORED, batch).answers
  assert jnp.isfinite(shown).all(-1).tolist() == finite


def test_a_state_is_used_once():
  step = kdjax.make_step(goal("hard", STUDENT), optax.sgd(0.1))
  state = step.init(jax.random.key(0), None, None, BATCH)
  step.step(state, None, BATCH)
  with pytest.raises(UserError, match="state: a step has used it already"):
    step.step(state, None, BATCH)


# Finite weights, and a difference of two infinities.
OVERFLOWS = kdjax.live_teacher(
  kdjax.from_apply(
    lambda variables, images, **_: (
      images.reshape(6, -1)[:, :4] * variables["scale"] ** 2
      - variables["scale"] ** 2
    )
  ),
  {"scale": np.float32(3e38)},
)
ARRAYS = {"image": IMAGES, "label": BATCH["label"]}


@pytest.mark.parametrize(
  ("teacher", "batches", "batch_size", "words"),
  [
    (
      kdjax.stored_teacher(np.zeros((4, 4), np.float32)),
      ARRAYS,
      6,
      "to 4 exam",
    ),
    (
      teacher_of(STUDENT),
      ARRAYS | {"image": HOLED},
      6,
      "'image' has nan in it",
    ),
    (
      OVERFLOWS,
      ARRAYS,
      6,
      "teacher: 6 of its 6 answers to the first batch are nan",
    ),
    (
      teacher_of(STUDENT),
      [ARRAYS, ARRAYS | {"image": HOLED}],
      None,
      "nan in it, first in row 4",
    ),
  ],
)
def test_distill_looks_into_its_batches(teacher, batches, batch_size, words):
  with pytest.raises(UserError, match=words):
    kdjax.distill(
      STUDENT,
      teacher,
      batches,
      task=TASK,
      optimizer=optax.sgd(0.1),
      epochs=1,
      key=jax.random.key(0),
      progress=False,
      batch_size=batch_size,
    )


@pytest.mark.parametrize(
  ("optimizer", "teacher", "words"),
  [
    (0.1, None, "optimizer= takes an optimiser of optax.*got 0.1"),
    (optax.sgd(0.1), TEN, "teacher= takes .*got Network"),
    (optax.sgd(0.1), NAN, r"teacher: answers, \(6, 4\), has nan"),
  ],
)
def test_what_is_no_argument_is_told(optimizer, teacher, words):
  with pytest.raises(UserError, match=words):
    kdjax.check(goal("kd", STUDENT), optimizer, BATCH, teacher)


def test_one_number_that_is_nan_is_told():
  batch = {**BATCH, "index": np.arange(6)}
  with pytest.raises(UserError, match="1 of its 6 answers"):
    check_teacher(TASK, NAN, batch)
  check_teacher(TASK, NAN, {**batch, "weight": np.arange(6) != 4})


def test_a_step_tells_it_as_well():
  step = kdjax.make_step(goal("kd", STUDENT), optax.sgd(0.1))
  teacher = teacher_of(TEN)
  state = step.init(jax.random.key(0), None, teacher, BATCH)
  with pytest.raises(UserError, match="the student"):
    step.step(state, teacher, BATCH)
