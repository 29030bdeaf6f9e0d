"""What is particular about CRD, SRD and VkD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import MAKERS, losses

from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods.crd import _samples
from kdjax.methods.vkd import Orthogonal

EXAMPLES = 12


def inputs_of(
  index=(3, 0, 7, 5), labels=(0, 1, 1, -1), mask=None, widths=(3, 5)
):
  rng = np.random.default_rng(0)
  student, teacher = (
    Outputs(
      np.zeros((4, 2), np.float32),
      {"head:in": rng.normal(size=(4, width)).astype(np.float32)},
    )
    for width in widths
  )
  return Inputs(
    student,
    teacher,
    np.array(labels),
    np.int32(0),
    mask,
    np.array(index),
  )


def begun(name, inputs, **kwargs):
  method = MAKERS[name](**kwargs)
  return method, *method.init(jax.random.key(0), inputs)


class TestCrd:
  def test_memories_begin_with_rows_of_about_unit_length(self):
    _, _, state = begun("crd", inputs_of(), examples=500)
    lengths = np.linalg.norm(state["teacher"], axis=1)
    assert lengths.mean() == pytest.approx(1.0, abs=0.01)
    assert not np.array_equal(state["student"], state["teacher"])

  def test_is_the_loss_by_hand(self):
    """Two examples of two classes, one negative: there is no choice."""
    inputs = inputs_of(index=(0, 1, 0, 1), labels=(0, 1, 0, 1))
    inputs = jax.tree.map(lambda x: x[:2] if x.ndim else x, inputs)
    method, params, state = begun("crd", inputs, examples=2, width=4)
    loss, after, _ = method.apply(params, state, inputs)

    def embedded(side, outputs):
      dense = jax.device_get(params[side]["dense"])
      x = outputs.feats["head:in"] @ dense["kernel"] + dense["bias"]
      return x / np.linalg.norm(x, axis=1, keepdims=True)

    student = embedded("student", inputs.student)
    teacher = embedded("teacher", inputs.teacher)
    # With all rows as samples, the batch's own estimate is the whole memory's.
    want = losses.crd(
      student,
      teacher,
      state["student"],
      state["teacher"],
      np.array([[0, 1], [1, 0]]),
    )
    assert float(loss) == pytest.approx(float(np.mean(want)), rel=1e-5)
    rows = losses.crd_update(state["student"], student, np.array([0, 1]))
    np.testing.assert_allclose(after["student"], rows, rtol=1e-5)

  def test_remembers_what_it_saw_and_nothing_else(self):
    inputs = inputs_of(mask=np.array([True, True, True, False]))
    method, params, state = begun("crd", inputs, examples=EXAMPLES)
    after = method.apply(params, state, inputs)[1]
    for side in ("student", "teacher"):
      moved = np.any(np.asarray(after[side]) != state[side], axis=1)
      assert list(np.flatnonzero(moved)) == [0, 3, 7]
    assert list(np.asarray(after["classes"])[[0, 3, 7, 5, 1]]) == [
      1, 0, 1, -6, -2,
    ]  # fmt: skip
    assert after["z_student"] > 0 and after["z_teacher"] > 0
    later = method.apply(params, after, inputs)[1]
    assert later["z_student"] == after["z_student"]

  def test_negatives_are_of_other_classes(self):
    classes = np.array([0, 1, 1, 0, 2, -6, 1, 1, 2, 0, -11, -12])
    inputs = inputs_of(labels=(0, 0, 1, -1))
    state = {"classes": classes, "key": jax.random.key(1)}
    rows = np.asarray(jax.jit(_samples, static_argnums=2)(state, inputs, 400))
    assert list(rows[:, 0]) == [3, 0, 7, 5]
    for own, *others in rows:
      want = np.flatnonzero(classes != classes[own])
      assert sorted(set(others)) == list(want)

  def test_draws_belong_to_examples(self):
    """Another order of the batch, the same loss."""
    inputs = inputs_of()
    method, params, state = begun("crd", inputs, examples=EXAMPLES, negatives=3)
    order = np.array([2, 0, 3, 1])
    turned = jax.tree.map(lambda x: x[order] if x.ndim else x, inputs)
    one, other = (
      method.apply(params, state, batch)[0] for batch in (inputs, turned)
    )
    assert float(one) == pytest.approx(float(other), rel=1e-5)

  @pytest.mark.parametrize(
    ("examples", "index"), [(None, jnp.arange(4)), (EXAMPLES, None)]
  )
  def test_needs_to_know_the_examples(self, examples, index):
    with pytest.raises(UserError, match="remembers every training example"):
      begun("crd", inputs_of()._replace(index=index), examples=examples)

  @pytest.mark.parametrize(
    "bad",
    [
      {"examples": 1},
      {"width": 0},
      {"width": None},
      {"negatives": 0},
      {"temperature": 0},
      {"momentum": 1.5},
    ],
  )
  def test_impossible_hyper_parameters_are_refused(self, bad):
    with pytest.raises(ValueError):
      MAKERS["crd"](**bad)


class TestSrd:
  def test_is_the_loss_by_hand(self):
    inputs = inputs_of()
    method, params, state = begun("srd", inputs)
    dense = params["project"]
    student = (
      np.asarray(inputs.student.feats["head:in"]) @ dense["kernel"]
      + np.asarray(dense["bias"])[None]
    )

    def normalised(x):
      x = np.asarray(x)
      return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-4)

    want = np.log(
      np.sum(
        (normalised(student) - normalised(inputs.teacher.feats["head:in"])) ** 4
      )
    )
    loss = method.apply(params, state, inputs)[0]
    assert float(loss) == pytest.approx(float(want), rel=1e-5)

  def test_padding_does_not_count(self):
    whole = inputs_of(mask=np.array([True, True, True, False]))
    part = jax.tree.map(lambda x: x[:3] if x.ndim else x, whole)
    method, params, state = begun("srd", whole)
    one, other = (method.apply(params, state, i)[0] for i in (whole, part))
    assert float(one) == pytest.approx(float(other), rel=1e-5)


class TestVkd:
  @pytest.mark.parametrize("widths", [(3, 5), (5, 3), (4, 4)])
  def test_projection_stays_orthogonal_whatever_its_parameters(self, widths):
    module = Orthogonal(widths[1])
    x = np.eye(widths[0], dtype=np.float32)

    @jax.jit
    def run(key):
      params = module.init(key, x)
      return module.apply(jax.tree.map(lambda p: 5 * p + 1, params), x)

    kernel = np.asarray(run(jax.random.key(0)))
    small = kernel @ kernel.T if widths[0] <= widths[1] else kernel.T @ kernel
    np.testing.assert_allclose(small, np.eye(min(widths)), atol=2e-5)

  def test_maps_and_tokens_are_averaged(self):
    maps = np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)
    teacher = Outputs(None, {"head:in": np.ones((2, 4), np.float32)})
    values = []
    for feature in (maps, maps.reshape(2, 4, 3), maps.mean(axis=(1, 2))):
      inputs = Inputs(
        Outputs(None, {"stage_0": feature}), teacher, np.zeros(2, int), 0
      )
      method, params, state = begun("vkd", inputs, student_tap="stage_0")
      values.append(float(method.apply(params, state, inputs)[0]))
    assert values == pytest.approx(values[:1] * 3)
