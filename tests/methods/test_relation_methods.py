"""What is particular to the methods that relate a batch's examples."""

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


S, T = random(0, 4, 3), random(1, 4, 2)
EARLY = random(2, 4, 7)


def make_inputs(student=S, teacher=T, tap="head:in"):
  return Inputs(
    Outputs(None, {"stage_0": EARLY, tap: student}),
    Outputs(None, {"stage_0": EARLY, tap: teacher}),
    jnp.zeros(4, jnp.int32),
    jnp.int32(0),
  )


def value(method, inputs):
  def run(inputs):
    params, state = method.init(jax.random.key(0), inputs)
    return method.apply(params, state, inputs)[0]

  return float(jax.jit(run)(inputs))


@pytest.mark.parametrize(
  ("name", "arguments", "tap", "by_hand"),
  [
    ("sp", {}, "stage_1", losses.sp),
    ("pkt", {}, "head:in", losses.pkt),
    ("rkd", {}, "head:in", losses.rkd),
    (
      "rkd",
      {"angle_weight": 0.0, "distance_weight": 2.0},
      "head:in",
      lambda s, t: 2.0 * losses.rkd_distance(s, t),
    ),
    (
      "relation_matrix",
      {"phi": "cosine"},
      "head:in",
      lambda s, t: losses.relation_mse(s, t, phi="cosine"),
    ),
    (
      "relation_matrix",
      {"normalize": False},
      "head:in",
      lambda s, t: losses.relation_mse(s, t),
    ),
    (
      "relation_matrix",
      {"phi": "euclidean"},
      "head:in",
      lambda s, t: losses.relation_mse(
        s / jnp.sqrt((s**2).sum(1).mean()),
        t / jnp.sqrt((t**2).sum(1).mean()),
        phi="euclidean",
      ),
    ),
  ],
)
def test_value_is_the_loss_of_the_default_tap(name, arguments, tap, by_hand):
  method = MAKERS[name](**arguments)
  got = value(method, make_inputs(tap=tap))
  assert got == pytest.approx(float(by_hand(S, T)), rel=1e-5)
  assert method.couples_batch


@pytest.mark.parametrize(
  "name",
  [
    *("sp", "cc"),  # of the batch, and of an embedding
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in ("pkt", "rkd", "relation_matrix")
    ),
  ],
)
def test_features_of_any_rank_are_flattened(name):
  method = MAKERS[name](student_tap="mine", teacher_tap="yours")
  whole = Inputs(
    Outputs(None, {"mine": random(3, 4, 2, 2, 3)}),
    Outputs(None, {"yours": random(4, 4, 5, 2)}),
    jnp.zeros(4, jnp.int32),
    jnp.int32(0),
  )
  flat = jax.tree.map(lambda x: x.reshape(4, -1) if x.ndim > 1 else x, whole)
  assert value(method, whole) == pytest.approx(value(method, flat), rel=1e-6)


@pytest.mark.parametrize("kernel", ["consecutive", "gaussian", "bilinear"])
def test_correlation_of_learned_embeddings(kernel):
  method = MAKERS["cc"](kernel=kernel, width=6)
  inputs = make_inputs()
  params, _ = method.init(jax.random.key(1), inputs)
  s, t = (
    x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])
    for name, x in (("student", S), ("teacher", T))
  )
  want = losses.cc(s, t, kernel=kernel, normalize=kernel != "consecutive")

  def loss(params, inputs):
    return method.apply(params, (), inputs)[0]

  look = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), allow_int=True))
  found, (to_params, to_inputs) = look(params, inputs)
  assert float(found) == pytest.approx(float(want), rel=1e-5)
  assert np.any(to_params["teacher"]["kernel"])
  assert not np.any(to_inputs.teacher.feats["head:in"])


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e20])
def test_normalised_relation_is_finite_for_features_of_any_size(size):
  method = MAKERS["relation_matrix"]()
  gradient = jax.grad(lambda s: method.apply((), (), make_inputs(student=s))[0])
  assert np.all(np.isfinite(jax.jit(gradient)(size * S)))


@pytest.mark.parametrize(
  ("name", "weight"),
  [
    ("sp", 3000),
    ("pkt", 30000),
    ("rkd", 1),
    ("cc", 0.02),
    ("relation_matrix", 25),
  ],
)
def test_published_objective(name, weight):
  assert list(map(str, terms_of(name))) == ["ce:1.0", f"{name}:{float(weight)}"]


@pytest.mark.parametrize(
  "text",
  [
    "cc(kernel='cubic')",
    "cc(width=0)",
    "cc(order=-1)",
    "cc(gamma=linear(0, 1, 2))",
    "relation(phi='angle')",
    "rkd(angle_weight=-1)",
  ],
)
def test_refused(text):
  with pytest.raises(UserError):
    make_objective(text)


def test_tap_that_names_nothing_is_refused():
  with pytest.raises(UserError, match="stage_0"):
    value(MAKERS["sp"](student_tap="block_*"), make_inputs())
