"""What the user may write for an objective; values by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import (
  FAMILIES,
  MAKERS,
  PRESETS,
  make_objective,
  reading,
  terms_of,
)
from kdjax.methods.registry import OBJECTIVES, VARIANTS, register
from kdjax.tasks import classification


def make_inputs(dtype=jnp.float32, batch=5, classes=4, mask=None):
  rng = np.random.default_rng(0)
  student = jnp.asarray(rng.normal(size=(batch, classes)), dtype)
  teacher = jnp.asarray(rng.normal(size=(batch, classes)), dtype)
  labels = jnp.asarray(rng.integers(0, classes, batch), jnp.int32)
  return Inputs(
    Outputs(student, {}), Outputs(teacher, {}), labels, jnp.int32(0), mask
  )


def value(name, inputs):
  method = MAKERS[name]()
  params, state = method.init(jax.random.key(0), inputs)
  return method.apply(params, state, inputs)[0]


@pytest.mark.parametrize(
  ("text", "hard_weight", "expected"),
  [
    ("kd", None, ["ce:0.1", "kd:0.9"]),
    ("response", 0.25, ["ce:0.25", "kd:0.75"]),
    ("kd + logit_mse", 0.5, ["ce:0.5", "kd:0.5", "logit_mse:0.5"]),
    (
      "kd(temperature=8):0.9 + ce:0.1",
      None,
      ["kd(temperature=8):0.9", "ce:0.1"],
    ),
    ("soft", None, ["kd:1.0"]),
    ("hard", None, ["ce:1.0"]),
    ("sp", None, ["ce:1.0", "sp:3000.0"]),
    ("sp", 0.5, ["ce:0.5", "sp:3000.0"]),
    ("sp + kd", None, ["ce:0.1", "sp:3000.0", "kd:0.9"]),
    ("sp:2 + kd", None, ["sp:2.0", "kd:1.0"]),
    ("soft_and_hard", None, ["kd:0.9", "ce:0.1"]),
  ],
)
def test_terms(text, hard_weight, expected):
  terms = terms_of(text, hard_weight=hard_weight)
  assert list(map(str, terms)) == expected


def staged(name, of_method, of_labels, share, kd=False):
  share_kd = [f"kd:after({share}, 0.9)"] if kd else []
  return [f"{name}:{of_method}", f"ce:after({share}, {of_labels})", *share_kd]


STAGES = {
  "fitnets": ("before(0.2, 100)", 0.2, True),
  "ab": ("before(0.11, 0.003)", 0.11, True),
  "fsp": ("before(0.11, 50)", 0.11, False),
  "minilm": ("before(0.5, 1)", 0.5, False),
  "minilmv2": ("before(0.5, 1)", 0.5, False),
}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize(
  "hard_weight", [0.0, 0.5, "linear(0.5, 0.1, 100)", "cosine(0.5, 0.1, 100)"]
)
def test_hard_weight_keeps_the_published_order(name, hard_weight):
  of_method, share, kd = STAGES[name]
  given = (
    spec.parse(hard_weight) if isinstance(hard_weight, str) else hard_weight
  )
  terms = terms_of(name, hard_weight=given)
  want = staged(name, of_method, hard_weight, share, kd)
  assert list(map(str, terms)) == want


def test_every_staged_label_term_is_in_the_table():
  found = {
    name
    for name, text in OBJECTIVES.items()
    for term in spec.parse_sum(text)
    if term.spec.name == "ce" and isinstance(term.weight, spec.Spec)
  }
  assert found == set(STAGES)


def test_members_of_a_sweep_differ_by_the_labels_weight_in_their_stage():
  """ce of one example: ln 2; its weight is 0 before step 20, then h."""
  taps = {
    f"stage_0/attention/{part}": jnp.ones((1, 2, 1, 4))
    for part in ("query", "key", "value")
  }
  outputs = Outputs(jnp.zeros((1, 2)), taps)
  inputs = Inputs(outputs, outputs, jnp.array([0]), jnp.int32(0))

  def loss(hard_weight, step):
    method = make_objective("minilmv2", hard_weight=hard_weight, steps=40)
    now = inputs._replace(step=step)
    params, state = method.init(jax.random.key(0), now)
    return method.apply(params, state, now)[0]

  shares, steps = jnp.array([0.0, 0.25, 1.0]), jnp.array([0, 19, 20, 39])
  every = jax.jit(jax.vmap(jax.vmap(loss, (None, 0)), (0, None)))
  losses = every(shares, steps)
  want = 0.6931472 * np.array([[0, 0, h, h] for h in (0, 0.25, 1)])
  np.testing.assert_allclose(losses, want, rtol=1e-6)
  scheduled = spec.parse("linear(0.0, 1.0, 40)")
  later = jax.jit(functools.partial(loss, scheduled))
  assert float(later(jnp.int32(10))) == 0.0
  assert float(later(jnp.int32(30))) == pytest.approx(0.75 * 0.6931472)


def test_objective_is_the_weighted_sum():
  """hard_weight * cross_entropy + (1 - hard_weight) * kd, by hand."""
  inputs = make_inputs()
  method = make_objective("response", hard_weight=0.3, temperature=2.0)

  @jax.jit
  def both(inputs):
    params, state = method.init(jax.random.key(0), inputs)
    loss, _, _ = method.apply(params, state, inputs)
    student, teacher = inputs.student.answers, inputs.teacher.answers
    hard = optax.softmax_cross_entropy_with_integer_labels(
      student, inputs.labels
    ).mean()
    p, q = jax.nn.softmax(teacher / 2), jax.nn.softmax(student / 2)
    soft = 4 * (p * (jnp.log(p) - jnp.log(q))).sum(-1).mean()
    return loss, 0.3 * hard + 0.7 * soft

  loss, want = both(inputs)
  assert float(loss) == pytest.approx(float(want), rel=1e-5)


def test_label_smoothing_by_hand():
  """Two classes, logits (0, 2), label 1, smoothing 0.2: targets (0.1, 0.9)."""
  inputs = Inputs(
    Outputs(jnp.array([[0.0, 2.0]]), {}), None, jnp.array([1]), jnp.int32(0)
  )
  loss = MAKERS["ce"](label_smoothing=0.2).apply((), (), inputs)[0]
  log_q = np.log([1 / (1 + np.e**2), np.e**2 / (1 + np.e**2)])
  assert float(loss) == pytest.approx(
    -(0.1 * log_q[0] + 0.9 * log_q[1]), rel=1e-6
  )


def test_unlabelled_examples_add_nothing():
  inputs = make_inputs()
  hidden = inputs._replace(labels=jnp.array([0, -1, -1, -1, -1]))
  alone = jax.tree.map(lambda x: x[:1] if x.ndim else x, hidden)
  assert float(value("ce", hidden)) == pytest.approx(
    float(value("ce", alone)) / 5
  )


def test_schedules_in_weights_and_temperatures():
  inputs = make_inputs()
  method = make_objective("kd(temperature=linear(4, 2, 10)):linear(0, 1, 10)")
  params, state = method.init(jax.random.key(0), inputs)
  at_end = method.apply(params, state, inputs._replace(step=jnp.int32(10)))[0]
  want = MAKERS["kd"](temperature=2.0).apply((), (), inputs)[0]
  assert float(at_end) == pytest.approx(float(want), rel=1e-6)
  assert float(method.apply(params, state, inputs)[0]) == 0.0


@pytest.mark.parametrize(
  "text",
  ["kdd", "kd + kd", "kd:-1", "kd:1e40", "ce + kd", "kd(4)", "", "kd:x(1)"],
)
def test_refused(text):
  with pytest.raises(UserError):
    make_objective(text)


@pytest.mark.parametrize(
  ("text", "same"),
  [
    ("forward_kl", "divergence(kind='forward_kl')"),
    (
      "skew_kl(share=0.2):0.5 + ce",
      "divergence(share=0.2, kind='skew_kl'):0.5 + ce",
    ),
    (
      "generalized_jsd(beta=0):1",
      "divergence(beta=0, kind='generalized_jsd'):1",
    ),
  ],
)
def test_a_kind_of_divergence_is_a_name(text, same):
  assert terms_of(text) == terms_of(same)


def test_a_kind_of_divergence_is_not_another():
  with pytest.raises(UserError, match="tvd.*its name says"):
    terms_of("tvd(kind='forward_kl')")


@pytest.mark.parametrize(
  ("text", "instead"),
  [
    ("kd:0.9 + hard:0.1", "'ce' in its place"),
    ("fitnets + soft", "'kd' in its place"),
    ("soft_and_hard(8)", "'kd:0.9 + ce:0.1' in its place"),
  ],
)
def test_a_preset_is_no_term(text, instead):
  with pytest.raises(UserError, match="is a whole objective.*") as error:
    terms_of(text)
  assert instead in str(error.value) and "did you" not in str(error.value)


def test_names_are_taken_once():
  with pytest.raises(ValueError, match="registered already"):
    register("kd")(lambda: None)
  assert set(FAMILIES.values()) <= set(MAKERS)
  names = [*MAKERS, *FAMILIES, *PRESETS, *VARIANTS]
  assert len(names) == len(set(names))


def of_task(kind):
  return classification(3)._replace(name="mine", kind=kind)


@pytest.mark.parametrize(
  ("text", "kind"),
  [
    ("kd", "binary"),
    ("binary_kd(positive_weight=4, gamma=2)", "binary"),
    ("binary_kd", "categories"),
    ("kd", "categories"),
    ("logit_mse", "values"),
    ("rkd", "values"),
    ("sp:1 + ce:0", "embedding"),
    ("hard", "values"),
    ("srrl", "values"),
  ],
)
def test_methods_that_read_a_tasks_answers(text, kind):
  make_objective(text, task=of_task(kind))


@pytest.mark.parametrize(
  ("text", "kind", "name"),
  [
    ("kd", "values", "kd"),
    ("logit_mse + dist", "embedding", "dist"),
    # The published objective ends in kd.
    ("fitnets", "values", "kd"),
    ("pskd", "binary", "pskd"),
    ("binary_kd", "values", "binary_kd"),
  ],
)
def test_methods_that_do_not(text, kind, name):
  with pytest.raises(UserError) as error:
    make_objective(text, task=of_task(kind))
  says = str(error.value)
  assert "\n" not in says and "task 'mine'" in says and repr(kind) in says
  assert f"{name} reads categories" in says
  assert f"methods that fit are {', '.join(reading(kind))}" in says


def test_a_kind_that_is_none_is_refused():
  with pytest.raises(ValueError, match="kinds are"):
    register("new_one", reads=("classes",))
