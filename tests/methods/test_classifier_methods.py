"""What is particular to the methods that use the networks' classifiers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import MAKERS, losses, make_objective

from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import terms_of


def random(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def head(seed, width, classes=3):
  return {"kernel": random(seed, width, classes), "bias": random(9, classes)}


STUDENT, TEACHER = random(0, 2, 4, 4, 5), random(1, 2, 2, 2, 6)
HEAD, OWN = head(2, 6), head(3, 5)


def make_inputs(student=None, teacher=None, **changes):
  inputs = Inputs(
    Outputs(
      random(4, 2, 3),
      {"stage_0": random(6, 2, 4), "stage_1": STUDENT, "pool:in": STUDENT},
    ),
    Outputs(
      TEACHER.mean((1, 2)) @ HEAD["kernel"] + HEAD["bias"][None],
      {
        "stage_1/activation": TEACHER,
        "pool:in": TEACHER,
        "head:in": TEACHER.mean((1, 2)),
      },
    ),
    jnp.array([0, 1]),
    jnp.int32(0),
    head=HEAD,
    student_head=OWN,
  )
  if student is not None:
    inputs = inputs._replace(student=Outputs(random(4, 2, 3), student))
  if teacher is not None:
    inputs = inputs._replace(teacher=Outputs(random(5, 2, 3), teacher))
  return inputs._replace(**changes)


def value(method, inputs):
  def run(inputs):
    params, state = method.init(jax.random.key(0), inputs)
    return method.apply(params, state, inputs)[0]

  return float(jax.jit(run)(inputs))


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("simkd", ["simkd:1.0"]),
    ("srrl", ["ce:1.0", "srrl:1.0"]),
    ("cat_kd", ["ce:1.0", "cat_kd:15.0"]),
  ],
)
def test_published_objective(name, expected):
  assert list(map(str, terms_of(name))) == expected


@pytest.mark.parametrize(
  "text", ["cat_kd(size=0)", "srrl(logit_weight=-1)", "simkd(width=3)"]
)
def test_refused(text):
  with pytest.raises(UserError):
    make_objective(text)


class TestClassMaps:
  def test_value_by_hand(self):
    want = losses.cat_kd(STUDENT @ OWN["kernel"], TEACHER @ HEAD["kernel"])
    got = value(MAKERS["cat_kd"](), make_inputs())
    assert got == pytest.approx(float(want.mean()), rel=1e-5)

  def test_gradient_reaches_the_students_own_classifier_only(self):
    inputs = make_inputs()
    gradient = jax.grad(
      lambda inputs: MAKERS["cat_kd"]().apply((), (), inputs)[0],
      allow_int=True,
    )
    grads = jax.jit(gradient)(inputs)
    assert np.any(grads.student_head["kernel"])
    assert not np.any(grads.head["kernel"])

  @pytest.mark.parametrize(
    ("inputs", "message"),
    [
      (make_inputs(student={"pool:in": random(0, 2, 5)}), "feature maps"),
      (make_inputs(teacher={"pool:in": random(0, 2, 5)}), "the teacher's"),
      (make_inputs(student_head=None), "student's linear classifier"),
      (make_inputs(head=head(0, 7)), "takes the mean of the last map"),
    ],
    ids=["vectors", "teacher's vectors", "no classifier", "hidden layers"],
  )
  def test_network_without_class_maps_is_refused(self, inputs, message):
    with pytest.raises(UserError, match=message):
      value(MAKERS["cat_kd"](), inputs)


class TestSoftmaxRegression:
  @pytest.mark.parametrize("rank", [2, 3, 4])
  def test_value_by_hand(self, rank):
    """The connector is a dense layer, normalised over all but the last axis."""
    student = random(7, *(2, 3, 3)[: rank - 1], 5)
    inputs = make_inputs(student={"stage_0": student})
    method = MAKERS["srrl"](feature_weight=2.0, logit_weight=3.0)
    params, _ = method.init(jax.random.key(0), inputs)
    x = student @ np.asarray(params["connector"]["dense"]["kernel"])
    axes = tuple(range(rank - 1))
    x = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)
    x = np.maximum(x, 0).mean(tuple(range(1, rank - 1)))
    logits = x @ HEAD["kernel"] + HEAD["bias"]
    want = 2.0 * np.mean((x - inputs.teacher.feats["head:in"]) ** 2)
    want += 3.0 * np.mean((logits - inputs.teacher.answers) ** 2)
    loss, _, _ = method.apply(params, (), inputs)
    assert float(loss) == pytest.approx(float(want), rel=1e-4)

  def test_teachers_map_may_stand_for_what_its_classifier_takes(self):
    mapped = MAKERS["srrl"](teacher_tap="stage_*/activation")
    inputs = make_inputs()
    assert value(mapped, inputs) == pytest.approx(
      value(MAKERS["srrl"](), inputs), rel=1e-5
    )

  @pytest.mark.parametrize(
    ("changes", "message"),
    [
      ({"head": None}, "teacher's linear classifier"),
      ({"head": head(0, 7)}, "takes 7 features, and the tapped ones have 6"),
    ],
  )
  def test_teacher_without_fitting_classifier_is_refused(
    self, changes, message
  ):
    with pytest.raises(UserError, match=message):
      value(MAKERS["srrl"](), make_inputs(**changes))


class TestReusedClassifier:
  projected = random(8, 2, 4, 4, 6)

  def params(self, width=6, classes=3):
    zeros = jax.tree.map(np.zeros_like, head(0, width, classes))
    return {"backbone": {}, "projector": {}, "head": zeros}

  def test_value_by_hand(self):
    inputs = make_inputs(student={"projector": self.projected})
    want = losses.simkd(self.projected, TEACHER).mean()
    assert value(MAKERS["simkd"](), inputs) == pytest.approx(float(want))

  def test_vectors_and_maps_meet_in_one_position(self):
    inputs = make_inputs(student={"projector": self.projected})
    method = MAKERS["simkd"](teacher_tap="head:in")
    difference = self.projected.mean((1, 2)) - TEACHER.mean((1, 2))
    want = float(np.mean(difference**2))
    assert value(method, inputs) == pytest.approx(want, rel=1e-5)

  def test_student_starts_with_the_teachers_classifier(self):
    inputs = make_inputs(student={"projector": self.projected})
    params = self.params()
    inputs = inputs._replace(student_head=params["head"])
    taken = make_objective("simkd").adopt(params, inputs)
    assert np.array_equal(taken["head"]["kernel"], HEAD["kernel"])
    assert np.array_equal(taken["head"]["bias"], HEAD["bias"])
    assert set(taken) == set(params) and not np.any(params["head"]["kernel"])

  def test_published_objective_needs_no_labels(self):
    inputs = make_inputs(student={"projector": self.projected})
    hidden = inputs._replace(labels=jnp.full(2, -1))
    method = make_objective("simkd")
    assert value(method, hidden) == value(method, inputs)

  @pytest.mark.parametrize(
    ("changes", "message"),
    [
      (
        {"student": {"stage_0": random(0, 2, 5)}},
        r"projected\(lenet\(...\), width=6\)",
      ),
      ({"student": {"projector": random(0, 2, 5)}}, r"width=6\)"),
      ({"student": {"projector": random(0, 2, 9, 6)}}, "tap 'head:in'"),
      ({"head": None}, "teacher's linear classifier"),
      ({"head": head(0, 7)}, "takes 7 features.*tap 'head:in'"),
    ],
    ids=["no projector", "other width", "tokens", "no head", "hidden layers"],
  )
  def test_pair_that_does_not_fit_is_refused(self, changes, message):
    changes = {"student": {"projector": self.projected}, **changes}
    inputs = make_inputs(**changes)
    with pytest.raises(UserError, match=message):
      value(MAKERS["simkd"](), inputs)
    with pytest.raises(UserError, match=message):
      MAKERS["simkd"]().adopt(self.params(), inputs)

  @pytest.mark.parametrize(
    ("params", "message"),
    [
      ({"stage_0": {}}, "no linear classifier.*projected"),
      ({"projector": {}, "head": head(0, 6, 4)}, "teacher's classes"),
    ],
    ids=["no classifier", "other classes"],
  )
  def test_network_that_cannot_adopt_is_refused(self, params, message):
    inputs = make_inputs(student={"projector": self.projected})
    inputs = inputs._replace(student_head=params.get("head"))
    with pytest.raises(UserError, match=message):
      MAKERS["simkd"]().adopt(params, inputs)
