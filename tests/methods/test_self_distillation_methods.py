"""What is particular to methods that need no teacher, or a noisy one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import MAKERS, losses, make_objective
from scipy.special import log_softmax

from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import terms_of
from kdjax.methods.cs_kd import partners


def make_inputs(labels, classes=3, feats=None, teacher=None, **more):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(len(labels), classes)).astype(np.float32)
  outputs = Outputs(logits, feats or {})
  return Inputs(outputs, teacher, jnp.asarray(labels), jnp.int32(0), **more)


def value(method, inputs):
  @jax.jit
  def run(inputs):
    params, state = method.init(jax.random.key(0), inputs)
    return method.apply(params, state, inputs)

  return run(inputs)


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("tf_kd", ["ce:0.9", "tf_kd:0.1"]),
    ("cs_kd", ["ce:1.0", "cs_kd:1.0"]),
    ("byot", ["ce:0.9", "byot:1.0"]),
    ("pskd", ["pskd:1.0"]),
    ("noisy_teacher", ["noisy_teacher:1.0"]),
    ("confidence_penalty", ["ce:1.0", "confidence_penalty:0.1"]),
  ],
)
def test_published_objectives(name, expected):
  assert list(map(str, terms_of(name))) == expected


@pytest.mark.parametrize(
  ("objective", "needed"),
  [("byot", False), ("hard", False), ("kd", True), ("ce:1 + kd:1", True)],
)
def test_a_sum_needs_a_teacher_where_a_term_does(objective, needed):
  assert make_objective(objective).needs_teacher == needed


def test_virtual_teacher_by_hand():
  inputs = make_inputs([1, -1])
  found = float(value(MAKERS["tf_kd"](correct=0.9, temperature=2.0), inputs)[0])
  p = np.exp(np.array([0.05, 0.9, 0.05]) / 2)
  p /= p.sum()
  log_q = log_softmax(inputs.student.answers[0])
  # the example without a label adds 0 to the mean
  assert found == pytest.approx((p * (np.log(p) - log_q)).sum() / 2, rel=1e-5)


def test_virtual_teacher_is_nearly_label_smoothing():
  """At T = 20 the gradients of the objective are those of smoothed labels."""
  inputs = make_inputs([0, 1, 2, 1], classes=10)

  def gradient(objective, **options):
    method = make_objective(objective, **options)

    def loss(logits):
      student = inputs.student._replace(answers=logits)
      return value(method, inputs._replace(student=student))[0]

    return jax.jit(jax.grad(loss))(inputs.student.answers)

  np.testing.assert_allclose(
    gradient("ce:0.9 + tf_kd:0.1"),
    gradient("ce:1", label_smoothing=0.1),
    atol=3e-4,
  )


def test_confidence_penalty_by_hand():
  inputs = make_inputs([0, 1])
  q = np.array(jax.nn.softmax(inputs.student.answers))
  want = np.mean(np.log(3) + (q * np.log(q)).sum(-1))
  assert float(value(MAKERS["confidence_penalty"](), inputs)[0]) == (
    pytest.approx(want, rel=1e-5)
  )


@pytest.mark.parametrize(
  ("labels", "mask", "partner"),
  [
    ([0, 0], None, [1, 0]),
    ([0, 1, 0, 1, 0], None, [2, 3, 4, 1, 0]),
    ([0, 1, 2], None, [0, 1, 2]),
    ([0, -1, -1, 0], None, [3, 1, 2, 0]),
    ([0, 0, 0, 0], [1, 1, 1, 0], [1, 2, 0, 3]),
    ([0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 3, 2]),
  ],
)
def test_partners_go_round_in_a_class(labels, mask, partner):
  mask = None if mask is None else jnp.asarray(mask, bool)
  found, paired = jax.jit(partners)(make_inputs(labels, mask=mask))
  assert found.tolist() == partner
  assert paired.tolist() == [i != place for i, place in enumerate(partner)]


def test_class_wise_loss_and_gradient_by_hand():
  inputs = make_inputs([2, 0, 2, 1])
  method = MAKERS["cs_kd"](temperature=2.0)

  def loss(logits):
    outputs = Outputs(logits, {})
    return value(method, inputs._replace(student=outputs))[0]

  logits = inputs.student.answers
  found, grads = jax.jit(jax.value_and_grad(loss))(logits)
  one, other = losses.kd(logits[0], logits[2], temperature=2.0), losses.kd(
    logits[2], logits[0], temperature=2.0
  )  # fmt: skip
  assert float(found) == pytest.approx(float(one + other) / 2, rel=1e-5)
  # through the first factor only: T (q - p), halved by the mean
  p, q = jax.nn.softmax(logits[2] / 2), jax.nn.softmax(logits[0] / 2)
  np.testing.assert_allclose(grads[0], (q - p), rtol=1e-4, atol=1e-6)
  assert not grads[jnp.array([1, 3])].any()


def test_the_end_teaches_the_stages():
  """Value by hand, no gradient to the end, the heads' accuracies."""
  rng = np.random.default_rng(1)
  shapes = {"stage_0": (4, 6), "stage_1": (4, 5), "head:in": (4, 5)}
  feats = {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }
  inputs = make_inputs([0, 1, 2, -1], feats=feats)
  settings = {"alpha": 0.25, "feature_weight": 0.5, "temperature": 2.0}
  method = MAKERS["byot"](**settings)
  params, state = jax.jit(method.init)(jax.random.key(0), inputs)

  def loss(logits, feats):
    seen = inputs._replace(student=Outputs(logits, feats))
    found, _, metrics = method.apply(params, state, seen)
    return found, metrics

  look = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
  (found, metrics), gradients = jax.device_get(
    look(inputs.student.answers, feats)
  )
  head = jax.device_get(params["head_0"])
  x = feats["stage_0"] @ head["dense_0"]["kernel"]
  x = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 0)
  logits = x @ head["classify"]["kernel"] + head["classify"]["bias"]
  hard = -log_softmax(logits[:3], axis=-1)[np.arange(3), [0, 1, 2]]
  soft = np.asarray(losses.kd(logits, inputs.student.answers, temperature=2.0))
  apart = np.square(x - feats["head:in"]).sum(-1)
  want = 0.75 * hard.sum() / 4 + (0.25 * soft + 0.5 * apart).mean()
  assert float(found) == pytest.approx(float(want), rel=1e-4)
  right, count = metrics["head_0_accuracy"]
  assert count == 3
  assert right == (logits.argmax(-1) == [0, 1, 2, -1])[:3].sum()
  assert not gradients[0].any() and not gradients[1]["head:in"].any()
  assert gradients[1]["stage_0"].any()


def test_one_stage_has_nobody_to_teach():
  feats = {"stage_0": jnp.ones((2, 3)), "head:in": jnp.ones((2, 3))}
  with pytest.raises(UserError, match="deeper student"):
    MAKERS["byot"]().init(jax.random.key(0), make_inputs([0, 1], feats=feats))


def test_targets_are_its_own_answers_of_an_epoch_ago():
  """First sight: the label. Then alpha * step / steps of what it said."""
  index = jnp.array([3, 1])
  inputs = make_inputs([0, 2], index=index, mask=jnp.array([True, False]))
  method = MAKERS["pskd"](alpha=0.5, examples=4, steps=10)
  loss, answers, _ = value(method, inputs)
  log_q = jax.nn.log_softmax(inputs.student.answers[0])
  assert float(loss) == pytest.approx(-float(log_q[0]), rel=1e-5)
  np.testing.assert_allclose(answers[3], jnp.exp(log_q), rtol=1e-5)
  assert not answers[jnp.array([0, 1, 2])].any()
  later = inputs._replace(step=jnp.int32(8))
  target = 0.6 * jnp.array([1.0, 0.0, 0.0]) + 0.4 * jnp.exp(log_q)
  loss = method.apply((), answers, later)[0]
  assert float(loss) == pytest.approx(-float((target * log_q).sum()), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"steps": 5}, {"examples": 5}])
def test_what_progressive_distillation_must_know(options):
  inputs = make_inputs([0, 1], index=jnp.arange(2))
  with pytest.raises(UserError, match="pskd"):
    MAKERS["pskd"](**options).init(jax.random.key(0), inputs)


@pytest.mark.parametrize(
  "kind", [pytest.param("regression", marks=pytest.mark.slow), "softened"]
)
def test_noise_on_a_share_of_the_examples(kind):
  """Undisturbed it is the plain loss; noise belongs to example and step."""
  size = 200
  teacher = Outputs(jnp.ones((size, 3)), {})
  inputs = make_inputs([0] * size, teacher=teacher, index=jnp.arange(size))
  plain = value(MAKERS["noisy_teacher"](share=0.0, kind=kind), inputs)[0]
  student = inputs.student.answers
  want = {
    "regression": jnp.square(student - 1).sum(-1).mean() / 2,
    "softened": losses.kd(student, teacher.answers).mean(),
  }[kind]
  assert float(plain) == pytest.approx(float(want), rel=1e-5)

  method = MAKERS["noisy_teacher"](share=0.25, sigma=1.0, kind=kind)
  key = method.init(jax.random.key(1), inputs)[1]

  @jax.jit
  def differences(step):
    def alone(logits, index, teacher):
      one = Inputs(
        Outputs(logits[None], {}), Outputs(teacher[None], {}), jnp.zeros(1, int), step,
        index=index[None],
      )  # fmt: skip
      quiet = MAKERS["noisy_teacher"](share=0.0, kind=kind)
      return method.apply((), key, one)[0] - quiet.apply((), key, one)[0]

    return jax.vmap(alone)(student, inputs.index, teacher.answers)

  def each(step):
    """Whose loss is not the plain one."""
    return np.array(differences(step)).round(6)

  first, second = each(0), each(1)
  assert 0.15 < np.mean(first != 0) < 0.35
  assert (first != second).any()
  np.testing.assert_array_equal(first, each(0))


@pytest.mark.parametrize("kind", ["regression", "softened"])
def test_noise_leaves_a_masked_class_masked(kind):
  """What the student says of it does not count, whatever sign the noise has."""
  size = 32
  teacher = np.tile(np.float32([1, 0, -np.inf]), (size, 1))
  method = MAKERS["noisy_teacher"](share=1.0, sigma=10.0, kind=kind)

  def loss(logit):
    student = np.ones((size, 3), np.float32)
    student[:, 2] = logit
    inputs = Inputs(
      Outputs(student, {}), Outputs(teacher, {}), np.zeros(size, int), 0
    )
    return float(run(inputs))

  run = jax.jit(lambda inputs: value(method, inputs)[0])
  assert np.isfinite(loss(0.0))
  assert loss(0.0) == pytest.approx(loss(5.0), rel=1e-6)


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("tf_kd", {"correct": 1.0}),
    ("tf_kd", {"temperature": 0.0}),
    ("cs_kd", {"temperature": -1.0}),
    ("byot", {"alpha": 1.5}),
    ("byot", {"feature_weight": -1.0}),
    ("pskd", {"alpha": 2.0}),
    ("noisy_teacher", {"share": 1.5}),
    ("noisy_teacher", {"sigma": -1.0}),
    ("noisy_teacher", {"kind": "uniform"}),
  ],
)
def test_refused(name, options):
  with pytest.raises(ValueError, match=next(iter(options))):
    MAKERS[name](**options)
