"""What is particular to the methods on logits; the contract is tested elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import MAKERS, losses, make_objective
from networks import drawn
from scipy.special import expit, log_softmax

from kdjax import losses as plain_losses
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import MAKERS as plain_methods
from kdjax.methods import terms_of
from kdjax.methods.ctkd import reverse
from kdjax.methods.divergence import KINDS

LABELS = np.array([0, 2, 1, 3])


def random(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def with_labels(*first):
  """The labels, the first of them others."""
  return np.array([*first, *LABELS[len(first) :]])


def make_inputs(step=0, feats=None, labels=LABELS):
  student, teacher = random(0, 4, 5), random(1, 4, 5)
  return Inputs(
    Outputs(student, feats or {}), Outputs(teacher, {}), labels, jnp.int32(step)
  )


def value(method, inputs):
  def run(inputs):
    params, state = method.init(jax.random.key(0), inputs)
    return method.apply(params, state, inputs)[0]

  return float(jax.jit(run)(inputs))


@pytest.mark.parametrize(
  ("name", "arguments", "by_hand"),
  [
    ("dkd", {}, lambda s, t, y: losses.dkd(s, t, y)),
    ("dkd", {"beta": 2.0}, lambda s, t, y: losses.dkd(s, t, y, beta=2.0)),
    ("nkd", {}, lambda s, t, y: losses.nkd(s, t, y)),
    ("wsld", {}, lambda s, t, y: losses.wsld(s, t, y)),
    ("dist", {}, lambda s, t, y: losses.dist(s, t)),
    ("mlkd", {}, lambda s, t, y: losses.mlkd(s, t)),
    ("ttm", {}, lambda s, t, y: losses.ttm(s, t, gamma=0.1)),
    (
      "ttm",
      {"weighted": True},
      lambda s, t, y: losses.ttm(s, t, gamma=0.1, weighted=True),
    ),
    (
      "logit_standardization",
      {},
      lambda s, t, y: losses.kd(s, t, temperature=2.0, standardize=True),
    ),
    ("divergence", {}, lambda s, t, y: losses.reverse_kl(s, t)),
    ("binary_kd", {}, lambda s, t, y: losses.binary_kd(s, t)),
    (
      "binary_kd",
      {"labels": True, "positive_weight": 3.0, "gamma": 1.0},
      lambda s, t, y: losses.binary_kd(
        s, t, np.eye(5)[y], positive_weight=3.0, gamma=1.0
      ),
    ),
    (
      "divergence",
      {"kind": "skew_kl", "lam": 0.3},
      lambda s, t, y: losses.skew_kl(s, t, lam=0.3),
    ),
    (
      "divergence",
      {"kind": "generalized_jsd", "beta": 1},
      lambda s, t, y: losses.reverse_kl(s, t),
    ),
    (
      "topk_kd",
      {"k": 3, "temperature": 2.0},
      lambda s, t, y: losses.topk_kd(s, t, k=3, temperature=2.0, tail="bucket"),
    ),
    (
      "uld",
      {"teacher_temperature": 2.0},
      lambda s, t, y: losses.uld(s, t, teacher_temperature=2.0),
    ),
    (
      "divergence",
      {"kind": "skew_kl", "share": 0.3},
      lambda s, t, y: losses.skew_kl(s, t, lam=0.3),
    ),
    (
      "divergence",
      {"kind": "adaptive_kl", "share": 0.7, "t_squared": True},
      lambda s, t, y: losses.adaptive_kl(s, t, mu=0.7, t_squared=True),
    ),
  ],
)
def test_value_is_the_mean_of_the_loss(name, arguments, by_hand):
  inputs = make_inputs()
  want = by_hand(inputs.student.answers, inputs.teacher.answers, inputs.labels)
  got = value(MAKERS[name](**arguments), inputs)
  assert got == pytest.approx(float(np.mean(want)), rel=1e-6)


def test_every_divergence_is_that_of_its_name():
  inputs = make_inputs()

  @jax.jit
  def both(inputs):
    """By kind the loss of that name, and the method's."""
    sides = inputs.student.answers, inputs.teacher.answers
    found = {}
    for kind in KINDS:
      want = getattr(plain_losses, kind)(*sides, temperature=3.0).mean()
      method = plain_methods["divergence"](kind=kind, temperature=3.0)
      found[kind] = want, method.apply((), (), inputs)[0]
    return found

  for kind, (want, got) in both(inputs).items():
    assert float(got) == pytest.approx(float(want), rel=1e-6), kind


@pytest.mark.parametrize("name", ["binary_kd", "dkd", "nkd", "wsld"])
def test_example_without_label_adds_nothing(name):
  method = MAKERS[name](**{"labels": True} if name == "binary_kd" else {})
  inputs = make_inputs()
  hidden = inputs._replace(labels=np.array([0, -1, -1, -1]))
  alone = jax.tree.map(lambda x: x[:1] if x.ndim else x, inputs)
  assert value(method, hidden) == pytest.approx(
    value(method, alone) / 4, rel=1e-5
  )
  gradient = jax.grad(
    lambda s: method.apply((), (), hidden._replace(student=Outputs(s, {})))[0]
  )
  gradient = np.asarray(jax.jit(gradient)(inputs.student.answers))
  assert np.all(np.isfinite(gradient)) and not np.any(gradient[1:])


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("dkd", ["ce:1.0", "dkd:warmup(0.0833)"]),
    # kd_loss_weight: 2. in the authors' resnet_dist.yaml, dist_cifar.yaml
    ("dist", ["ce:1.0", "dist:2.0"]),
    ("nkd", ["ce:1.0", "nkd:1.0"]),
    ("wsld", ["ce:1.0", "wsld:2.5"]),
    ("mlkd", ["ce:0.1", "mlkd:0.9"]),
    ("ofa", ["ce:1.0", "ofa:1.0"]),
    ("ttm", ["ce:1.0", "ttm:45.0"]),
    ("logit_standardization", ["ce:0.1", "logit_standardization:9.0"]),
    ("ctkd", ["ce:0.1", "ctkd:0.9"]),
    ("divergence", ["ce:0.1", "divergence:0.9"]),
    ("deit", ["deit:1.0"]),
  ],
)
def test_published_objective(name, expected):
  terms = terms_of(name)
  got = [str(term).replace("product(", "").split(", 1.0)")[0] for term in terms]
  assert got == expected


def test_weights_inside_a_method_may_be_schedules():
  inputs = make_inputs(step=10)
  method = make_objective("dkd(beta=linear(1, 3, 10)):1")
  want = losses.dkd(
    inputs.student.answers, inputs.teacher.answers, LABELS, beta=3.0
  )
  assert value(method, inputs) == pytest.approx(float(np.mean(want)), rel=1e-6)


@pytest.mark.parametrize(
  "text",
  [
    "dkd(alpha=-1)",
    "dist(temperature=0)",
    "ttm(gamma=0)",
    "binary_kd(positive_weight=-1)",
    "binary_kd(negative_weight='x')",
    "binary_kd(gamma=linear(0, 1, 2))",
    "binary_kd(temperature=0)",
    "mlkd(temperatures=())",
    "mlkd(temperatures=(1.0, -1.0))",
    "divergence(kind='renyi')",
    "divergence(kind='tvd', share=0.1)",
    "divergence(kind='skew_kl', share=1.0)",
    "skew_kl(lam=0)",
    "skew_kl(beta=0.1)",
    "skew_kl(share=0.1, lam=0.1)",
    "tvd(lam=0.1)",
    "generalized_jsd(beta=1.1)",
    "topk_kd(k=0)",
    "topk_kd(tail='none')",
    "uld(student_temperature=0)",
    "divergence(kind='skew_kl', share=linear(0, 1, 2))",
    "deit(kind='medium')",
    "deit(alpha=2)",
    "ctkd(ramp=0)",
    "ctkd(lowest=linear(1, 2, 3))",
    "ctkd(hidden=0)",
    "ofa(width=0)",
    "ofa(eps=0)",
  ],
)
def test_refused(text):
  with pytest.raises(UserError):
    make_objective(text)


def cross_entropy(logits, labels):
  return -log_softmax(logits, axis=-1)[np.arange(len(labels)), labels]


class TestDeit:
  heads = {"head": random(2, 4, 5), "head_dist": random(3, 4, 5)}

  def check(self, method, taught):
    inputs = make_inputs(feats=self.heads, labels=with_labels(-1))
    hard = cross_entropy(self.heads["head"], LABELS)
    want = 0.5 * hard[1:].sum() / 4 + 0.5 * np.mean(taught(inputs))
    assert value(method, inputs) == pytest.approx(float(want), rel=1e-6)

  def test_hard_takes_the_teachers_choice_as_the_label(self):
    self.check(
      MAKERS["deit"](),
      lambda inputs: cross_entropy(
        self.heads["head_dist"], inputs.teacher.answers.argmax(-1)
      ),
    )

  def test_soft_is_kd_of_the_second_head(self):
    self.check(
      MAKERS["deit"](kind="soft", temperature=2.0),
      lambda inputs: losses.kd(
        self.heads["head_dist"], inputs.teacher.answers, temperature=2.0
      ),
    )

  def test_student_without_second_head_is_refused(self):
    inputs = make_inputs(feats={"head": random(2, 4, 5)})
    with pytest.raises(UserError, match="head_dist"):
      value(MAKERS["deit"](), inputs)


class TestCurriculumTemperature:
  def apply(self, step, theta=1.0):
    method = MAKERS["ctkd"](ramp=0.1, steps=100)
    return method.apply({"theta": jnp.float32(theta)}, (), make_inputs(step))

  def plain(self, theta):
    inputs = make_inputs()
    return plain_losses.kd(
      inputs.student.answers,
      inputs.teacher.answers,
      temperature=1.0 + 20.0 * jax.nn.sigmoid(theta),
    ).mean()

  def test_value_is_kd_at_the_learned_temperature(self):
    loss, _, metrics = self.apply(step=50, theta=0.0)
    want = jax.jit(self.plain)(0.0)
    assert float(loss) == pytest.approx(float(want), rel=1e-6)
    total, count = metrics["temperature"]
    assert (float(total), float(count)) == (44.0, 4.0)

  def test_temperature_climbs_by_half_a_cosine(self):
    @jax.jit
    def slopes(theta, step):
      mine = jax.grad(lambda theta: self.apply(step, theta)[0])
      return mine(theta), jax.grad(self.plain)(theta)

    for step, strength in [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)]:
      got, plain = map(float, slopes(0.5, step))
      assert got == pytest.approx(-strength * plain, rel=1e-4, abs=1e-9)

  def test_reverse_changes_no_bit(self):
    x = random(5, 100)
    assert np.array_equal(reverse(x, 0.3), x)

  def test_each_example_has_its_own_temperature(self):
    method = MAKERS["ctkd"](instance=True, hidden=3)
    inputs = make_inputs()
    params, _ = method.init(jax.random.key(0), inputs)

    def apply(params):
      loss, _, metrics = method.apply(params, (), inputs)
      return loss, metrics["temperature"][0]

    look = jax.jit(jax.value_and_grad(apply, has_aux=True))
    (loss, _), grads = look(params)
    want = float(jax.jit(self.plain)(1.0))
    assert float(loss) == pytest.approx(want, rel=1e-6)
    params = jax.tree.map(
      lambda p, g: p + 50 * g, *jax.device_get((params, grads))
    )
    (_, temperatures), _ = look(params)
    assert abs(float(temperatures) - 4 * (1 + 20 * expit(1.0))) > 1e-3


STAGES = {
  "vectors": ((4, 6), (4, 3)),
  "tokens": ((4, 5, 6), (4, 5, 6)),
  "maps": ((4, 4, 4, 3), (4, 2, 2, 6)),
  "maps, then vectors": ((4, 4, 4, 3), (4, 6)),
}


class TestOneForAll:
  def make(self, shapes):
    feats = {f"stage_{i}": random(i, *shape) for i, shape in enumerate(shapes)}
    return make_inputs(feats=feats)

  @pytest.mark.parametrize("kind", STAGES)
  def test_every_stage_has_a_head_that_learns(self, kind):
    inputs, method = self.make(STAGES[kind]), MAKERS["ofa"](width=4)

    def loss(params, inputs):
      return method.apply(params, (), inputs)[0]

    params, _ = drawn(method.init, inputs)
    assert sorted(params) == ["head_0", "head_1"]
    to_params, to_inputs = jax.jit(
      jax.grad(loss, argnums=(0, 1), allow_int=True)
    )(params, inputs)
    assert all(
      np.any(head["classify"]["kernel"]) for head in to_params.values()
    )
    assert all(np.any(x) for x in to_inputs.student.feats.values())

  def test_query_key_and_value_of_token_blocks_have_no_bias(self):
    params, _ = drawn(MAKERS["ofa"]().init, self.make(STAGES["tokens"]))
    block = params["head_0"]["block_0"]
    assert {name: list(part) for name, part in block["attention"].items()} == {
      name: ["kernel"] for name in ("query", "key", "value", "out")
    }
    assert block["attention_bias"].shape == (6,)  # the output's

  def test_value_by_hand_where_the_classifier_says_nothing(self):
    inputs, method = self.make(STAGES["vectors"]), MAKERS["ofa"](eps=1.5)
    params, _ = drawn(method.init, inputs)
    params = jax.tree.map(np.zeros_like, params)

    def match(logits):
      return losses.ofa(logits, inputs.teacher.answers, LABELS, eps=1.5).mean()

    nothing = np.zeros((4, 5), np.float32)
    want = match(inputs.student.answers) + 2 * match(nothing)
    loss, _, _ = method.apply(params, (), inputs)
    assert float(loss) == pytest.approx(float(want), rel=1e-6)

  def test_without_label_it_is_the_soft_cross_entropy(self):
    inputs = self.make(STAGES["vectors"])._replace(labels=jnp.full(4, -1))
    want = losses.soft_cross_entropy(
      inputs.student.answers, inputs.teacher.answers
    )
    method = MAKERS["ofa"](stage_weight=0.0)
    assert value(method, inputs) == pytest.approx(float(want.mean()), rel=1e-6)

  def test_attention_maps_are_no_stages(self):
    with pytest.raises(UserError, match=r"maps .* is \(4, 2, 3, 3, 3\)"):
      value(MAKERS["ofa"](), self.make([(4, 2, 3, 3, 3)]))
