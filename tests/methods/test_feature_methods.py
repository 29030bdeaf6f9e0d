"""What is particular to the methods that match hidden features."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import MAKERS, losses, make_objective
from networks import drawn

from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import OBJECTIVES
from kdjax.methods._modules import Embed
from kdjax.methods.adaptive_features import simplex_weights
from kdjax.methods.ofd import margin

ACTIVATION = "stage_*/activation:in"
# Widths, sizes and depths differ, as far as a pair of stages may.
STUDENT_MAPS = ((6, 6, 3), (4, 4, 4), (2, 2, 5))
TEACHER_MAPS = ((4, 4, 5), (4, 4, 6), (2, 2, 5), (2, 2, 8))


def features(shapes, seed, batch=4, tap="stage_*"):
  rng = np.random.default_rng(seed)
  return {
    tap.replace("*", str(i)): rng.normal(size=(batch, *shape)).astype(
      np.float32
    )
    for i, shape in enumerate(shapes)
  }


def make_inputs(
  student, teacher, *, tap="stage_*", teacher_tap=None, step=0, seed=0, batch=4
):
  rng = np.random.default_rng(seed + 7)
  logits = rng.normal(size=(2, batch, 3)).astype(np.float32)
  return Inputs(
    Outputs(logits[0], features(student, seed, batch, tap)),
    Outputs(logits[1], features(teacher, seed + 1, batch, teacher_tap or tap)),
    np.zeros(batch, np.int32),
    jnp.int32(step),
    index=np.arange(batch),
  )


def student_slopes(method, params, state, inputs):
  """Returns the gradient to the parameters and to the student's features."""

  def loss(params, feats):
    now = inputs._replace(student=Outputs(None, feats))
    return method.apply(params, state, now)[0]

  return jax.jit(jax.grad(loss, argnums=(0, 1)))(params, inputs.student.feats)


def nonzero(tree):
  return any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(tree))


def pairs_of(inputs):
  """Three student stages meet the second, third and last of the teacher."""
  students = list(inputs.student.feats.values())
  teachers = list(inputs.teacher.feats.values())
  return list(zip(students, [teachers[i] for i in (1, 2, 3)], strict=True))


def pairs_in_order(inputs):
  return list(
    zip(
      *(v.feats.values() for v in (inputs.student, inputs.teacher)), strict=True
    )
  )


def to_size(student, teacher):
  size = tuple(np.minimum(student.shape, teacher.shape)[1:3])
  return (
    losses.adaptive_avg_pool(student, size=size),
    losses.adaptive_avg_pool(teacher, size=size),
  )


def dense(x, params):
  return x @ params["kernel"] + params.get("bias", np.zeros(1)).reshape(
    (1,) * (x.ndim - 1) + (-1,)
  )


def regressed(params, i, student):
  layers = params[f"regressor_{i}"]
  for name in ("hidden_0", "hidden_1"):
    if name in layers:
      student = jnp.maximum(dense(student, layers[name]), 0)
  student = dense(student, layers["dense"])
  if "norm" in layers:
    axes = tuple(range(student.ndim - 1))
    student = student - student.mean(axes, keepdims=True)
    student /= jnp.sqrt((student**2).mean(axes, keepdims=True) + 1e-5)
  return student


def fitted(params, pairs):
  """Regressed where there is a regressor."""
  return [
    (regressed(params, i, s) if f"regressor_{i}" in params else s, t)
    for i, (s, t) in enumerate(pairs)
  ]


def by_hand_ab(params, pairs):
  unlike = [i for i, (s, t) in enumerate(pairs) if s.shape != t.shape]
  assert sorted(params) == [f"regressor_{i}" for i in unlike]
  pairs = fitted(params, [to_size(*pair) for pair in pairs])
  return sum(
    weight * losses.ab(*pair)
    for weight, pair in zip((1 / 4, 1 / 2, 1), pairs, strict=True)
  )


def by_hand_ofd(params, pairs):
  total = 0
  for i, (student, teacher) in enumerate(to_size(*pair) for pair in pairs):
    below = teacher < 0
    least = jnp.where(below, teacher, 0).sum((0, 1, 2)) / below.sum((0, 1, 2))
    student = regressed(params, i, student)
    total += 2.0 ** (i - 2) * losses.ofd(student, teacher, least)
  return total


def by_hand_vid(params, pairs):
  for i in range(len(pairs)):  # as published, without biases
    layers = params[f"regressor_{i}"].values()
    assert all(list(layer) == ["kernel"] for layer in layers)
  return sum(
    losses.vid(*pair, params[f"log_scale_{i}"]["scale"])
    for i, pair in enumerate(fitted(params, [to_size(*p) for p in pairs]))
  )


def by_hand_fsp(params, pairs):
  return sum(
    losses.fsp((s, s_next), (t, t_next), pool="avg")
    for (s, t), (s_next, t_next) in itertools.pairwise(fitted(params, pairs))
  )


def by_hand_adaptive(params, pairs):
  """The first step's weights are uniform."""
  errors = []
  for student, teacher in fitted(params, [to_size(*pair) for pair in pairs]):
    scale = jnp.square(teacher).mean((0, 1, 2), keepdims=True)
    scale = jnp.maximum(scale, scale.mean() / 10)
    errors.append(jnp.mean(jnp.square(student - teacher) / scale))
  return sum(errors) / len(errors)


BY_HAND = {
  "fitnets": lambda params, pairs: losses.fitnet(
    *fitted(params, [to_size(*pairs[1])])[0]
  ),
  "attention_transfer": lambda params, pairs: sum(
    losses.attention_transfer(*pair) for pair in pairs
  ),
  "nst": lambda params, pairs: sum(losses.nst(*pair) for pair in pairs),
  "vid": by_hand_vid,
  "ab": by_hand_ab,
  "ofd": by_hand_ofd,
  "fsp": by_hand_fsp,
  "kdsvd": lambda params, pairs: losses.kdsvd(
    *zip(*fitted(params, pairs), strict=True)
  ),
  "cwd": lambda params, pairs: losses.cwd(
    *fitted(params, [to_size(*pairs[2])])[0]
  ),
  "adaptive_features": by_hand_adaptive,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_is_the_loss_of_the_paired_stages(name):
  tap = MAKERS[name]().student_taps[0]
  inputs = make_inputs(STUDENT_MAPS, TEACHER_MAPS, tap=tap)
  params, state = drawn(MAKERS[name]().init, inputs)
  got = jax.jit(MAKERS[name]().apply)(params, state, inputs)[0]
  want = jax.jit(
    lambda params, inputs: jnp.mean(BY_HAND[name](params, pairs_of(inputs)))
  )(params, inputs)
  assert float(got) == pytest.approx(float(want), rel=1e-4)


VECTORS = ((3,), (4,)), ((5,), (6,))
TOKENS = ((7, 3),), ((7, 5), (7, 6))


@pytest.mark.parametrize(
  ("name", "shapes", "reached"),
  [
    ("fitnets", VECTORS, ["stage_0"]),
    ("fitnets", TOKENS, ["stage_0"]),
    ("vid", VECTORS, ["stage_0", "stage_1"]),
    ("vid", TOKENS, ["stage_0"]),
    ("ab", VECTORS, ["stage_0", "stage_1"]),
    ("ofd", VECTORS, ["stage_0", "stage_1"]),
    ("adaptive_features", VECTORS, ["stage_0", "stage_1"]),
    ("adaptive_features", TOKENS, ["stage_0"]),
  ],
)
def test_takes_vectors_and_tokens(name, shapes, reached):
  method = MAKERS[name]()
  inputs = make_inputs(*shapes, tap=method.student_taps[0])
  _, slopes = student_slopes(method, *drawn(method.init, inputs), inputs)
  assert reached == [
    tap.split("/")[0] for tap, slope in slopes.items() if nonzero(slope)
  ]


@pytest.mark.parametrize(
  ("name", "stages"),
  [
    ("fitnets", {"fitnets": 100, "then": {"ce": 0.1, "kd": 0.9}, "from": 20}),
    ("ab", {"ab": 0.003, "then": {"ce": 0.1, "kd": 0.9}, "from": 11}),
    ("fsp", {"fsp": 50, "then": {"ce": 1}, "from": 11}),
  ],
)
def test_published_order(name, stages):
  objective = make_objective(name, steps=100)
  tap = MAKERS[name]().student_taps[0]
  inputs = make_inputs(STUDENT_MAPS, TEACHER_MAPS, tap=tap)
  params, state = drawn(objective.init, inputs)

  parts_of = jax.jit(objective.parts)

  def parts(step):
    now = inputs._replace(step=jnp.int32(step))
    weighted, _, metrics = parts_of(params, state, now)
    return {
      key: float(loss / (metrics[key][0] / metrics[key][1]))
      for key, loss in weighted.items()
      if float(loss)
    }

  later = stages["from"]
  assert parts(later - 1) == pytest.approx({name: stages[name]})
  assert parts(later) == pytest.approx(stages["then"])


@pytest.mark.parametrize(
  ("name", "objective"),
  [
    ("attention_transfer", "ce:1 + attention_transfer:1000"),
    ("nst", "ce:1 + nst:50"),
    ("vid", "ce:1 + vid:1"),
    ("ofd", "ce:1 + ofd:0.001"),
    ("factor_transfer", "ce:1 + factor_transfer:1"),
    ("kdsvd", "ce:1 + kdsvd:1"),
    ("review_kd", "ce:1 + review_kd:warmup(0.083)"),
    ("cwd", "ce:1 + cwd:50"),
    ("mgd", "ce:1 + mgd:7e-5"),
  ],
)
def test_published_weights(name, objective):
  assert OBJECTIVES[name] == objective


MAPS_ONLY = [
  "attention_transfer",
  "nst",
  "factor_transfer",
  "fsp",
  "kdsvd",
  "review_kd",
  "cwd",
  "mgd",
]


@pytest.mark.parametrize(
  ("name", "student", "teacher", "says"),
  [
    *[(n, ((3,),), ((3,),), f"{n} needs feature maps") for n in MAPS_ONLY],
    *[
      (n, STUDENT_MAPS[:1], TEACHER_MAPS, f"{n} needs two stages")
      for n in ("fsp", "kdsvd")
    ],
    ("fitnets", ((3,),), ((4, 4, 3),), "vectors with vectors"),
    ("fitnets", ((5, 3),), ((6, 3),), "5 tokens and the teacher 6"),
  ],
)
def test_refused_features(name, student, teacher, says):
  method = MAKERS[name]()
  taps = {
    "tap": method.student_taps[0],
    "teacher_tap": method.teacher_taps[0],
  }
  inputs = make_inputs(student, teacher, **taps)
  with pytest.raises(UserError, match=says):
    jax.eval_shape(lambda: method.apply({}, (), inputs)[0])


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("attention_transfer", {"p": 0}),
    ("attention_transfer", {"distance": "cosine"}),
    ("nst", {"kernel": "gaussian"}),
    ("vid", {"variance": 0}),
    ("vid", {"variance": lambda step: 5.0}),
    ("ab", {"margin": -1.0}),
    ("factor_transfer", {"rate": 0}),
    ("factor_transfer", {"pretraining": 1.0}),
    ("fsp", {"pool": "mean"}),
    ("kdsvd", {"k": 0}),
    ("review_kd", {"levels": (2, 0)}),
    ("cwd", {"channel_temperature": 0}),
    ("mgd", {"erased": 1.0}),
    ("adaptive_features", {"tau": 0}),
    ("adaptive_features", {"memory": 1.0}),
  ],
)
def test_refused_options(name, options):
  with pytest.raises(ValueError, match=next(iter(options))):
    MAKERS[name](**options)


def test_ab_has_no_connector_where_shapes_agree():
  """Stages 0 and 2 of one width, but only those of 2 are of one size."""
  inputs = make_inputs(
    ((8, 8, 4), (4, 4, 5), (2, 2, 6)),
    ((4, 4, 4), (4, 4, 6), (2, 2, 6)),
    tap=ACTIVATION,
  )
  params, state = drawn(MAKERS["ab"]().init, inputs)
  assert sorted(params) == ["regressor_0", "regressor_1"]
  got = MAKERS["ab"]().apply(params, state, inputs)[0]
  want = jax.jit(
    lambda params, inputs: by_hand_ab(params, pairs_in_order(inputs)).mean()
  )(params, inputs)
  assert float(got) == pytest.approx(float(want), rel=1e-4)


class TestFactorTransfer:
  @pytest.mark.parametrize(
    ("steps", "step", "moved"),
    [
      (100, 10, {"encode", "decode"}),
      (100, 11, {"student", "translate"}),
      (None, 0, {"encode", "decode", "student", "translate"}),
    ],
  )
  def test_paraphraser_first(self, steps, step, moved):
    method = MAKERS["factor_transfer"](steps=steps)
    inputs = make_inputs(STUDENT_MAPS[1:], TEACHER_MAPS[2:], step=step)
    of_params, of_student = student_slopes(
      method, *drawn(method.init, inputs), inputs
    )
    slopes = of_params | {"student": of_student}
    assert moved == {name for name, slope in slopes.items() if nonzero(slope)}


class TestOfd:
  def test_margins_are_means_of_all_negative_responses(self):
    method, seen = MAKERS["ofd"](), []
    state = None
    for seed in range(3):
      inputs = make_inputs(((4,),), ((5,),), tap=ACTIVATION, seed=seed)
      if state is None:
        params, state = drawn(method.init, inputs)
      _, state, _ = jax.jit(method.apply)(params, state, inputs)
      seen.append(np.asarray(inputs.teacher.feats["stage_0/activation:in"]))
    seen = np.concatenate(seen)
    want = np.ma.masked_array(seen, seen >= 0).mean(0).filled(0)
    np.testing.assert_allclose(margin(state["responses"][0]), want, rtol=1e-5)


class TestMgd:
  def test_masks_belong_to_examples_and_steps(self):
    method = MAKERS["mgd"](erased=0.5)
    inputs = make_inputs(STUDENT_MAPS[2:], TEACHER_MAPS[3:], batch=6)
    params, state = drawn(method.init, inputs)
    apply = jax.jit(method.apply)

    def loss(inputs):
      return float(apply(params, state, inputs)[0])

    turned = jax.tree.map(lambda x: x[::-1] if x.ndim else x, inputs)
    assert loss(turned) == pytest.approx(loss(inputs), rel=1e-5)
    assert loss(inputs._replace(index=inputs.index[::-1])) != loss(inputs)
    assert loss(inputs._replace(step=jnp.int32(1))) != loss(inputs)

  def test_nothing_erased_is_plain_generation(self):
    """An identity block on a positive map leaves the student as it is."""
    inputs = make_inputs(STUDENT_MAPS[2:], STUDENT_MAPS[2:])
    method = MAKERS["mgd"](erased=0.0)
    params, state = drawn(method.init, inputs)
    kernel = np.zeros((3, 3, 5, 5), np.float32)
    kernel[1, 1] = np.eye(5)
    params = jax.tree.map(
      lambda leaf: kernel if leaf.ndim == 4 else leaf, params
    )
    student = jax.tree.map(np.abs, inputs.student)
    now = inputs._replace(student=student)
    got = method.apply(params, state, now)[0]
    student, teacher = student.feats["stage_0"], inputs.teacher.feats["stage_0"]
    want = np.square(student - teacher).sum() / 4
    assert float(got) == pytest.approx(float(want), rel=1e-5)


class TestReviewKd:
  def inputs(self):
    """Three levels of maps, and what the classifiers take, of other widths."""
    inputs = make_inputs(STUDENT_MAPS, TEACHER_MAPS[1:], teacher_tap=ACTIVATION)
    inputs.student.feats["head:in"] = features(((7,),), 5)["stage_0"]
    inputs.teacher.feats["head:in"] = features(((9,),), 6)["stage_0"]
    return inputs

  def test_deepest_level_is_what_the_classifiers_take(self):
    """It is as wide as they are, and all fusions are as wide as the student's."""
    params, _ = drawn(MAKERS["review_kd"]().init, self.inputs())
    shapes = jax.tree.map(jnp.shape, params["review"])
    assert shapes["fusion_3"]["reduce"]["dense"]["kernel"] == (7, 7)
    assert shapes["fusion_3"]["conv"]["kernel"] == (3, 3, 7, 9)
    assert shapes["fusion_0"]["reduce"]["dense"]["kernel"] == (3, 7)

  def test_deep_stages_review_shallow_ones(self):
    """The teacher's first stage alone teaches all stages of the student."""
    method, inputs = MAKERS["review_kd"](), self.inputs()
    params, state = drawn(method.init, inputs)
    first = "stage_0/activation:in"
    changed = {first: -inputs.teacher.feats[first]}
    other = inputs.teacher._replace(feats=inputs.teacher.feats | changed)

    @jax.jit
    def slopes(teacher):
      now = inputs._replace(teacher=teacher)
      return student_slopes(method, params, state, now)[1]

    before, after = slopes(inputs.teacher), slopes(other)
    for stage in inputs.student.feats:
      assert not np.allclose(before[stage], after[stage], rtol=1e-3), stage

  def test_perfect_fusion_costs_nothing(self):
    """With the last normalisation at 0 the student says 0 everywhere."""
    method, inputs = MAKERS["review_kd"](), self.inputs()
    params, state = drawn(method.init, inputs)
    for fusion in params["review"].values():
      fusion["norm"] = jax.tree.map(np.zeros_like, fusion["norm"])
    silent = jax.tree.map(np.zeros_like, inputs.teacher)
    now = inputs._replace(teacher=silent)
    assert float(jax.jit(method.apply)(params, state, now)[0]) == 0.0


class TestAdaptiveFeatures:
  ERRORS = (np.array([0.1, 1.0, 0.4]), np.array([0.9, 0.2]))

  def price(self, layers, channels, tau):
    """The regularised objective that the weights are to minimise."""

    def kl(weights):
      return np.sum(weights * np.log(weights * len(weights)))

    return tau * kl(layers) + sum(
      a * (np.sum(w * e) + tau * kl(w))
      for a, w, e in zip(layers, channels, self.ERRORS, strict=True)
    )

  @pytest.mark.parametrize("tau", [0.1, 1.0, 10.0])
  def test_weights_are_the_minimum_on_the_simplex(self, tau):
    found = jax.jit(simplex_weights)([np.float32(e) for e in self.ERRORS], tau)
    layers, channels = jax.tree.map(lambda x: np.asarray(x, float), found)
    for weights in (layers, *channels):
      assert np.all(weights > 0) and weights.sum() == pytest.approx(1, rel=1e-6)
    least = self.price(layers, channels, tau)
    rng = np.random.default_rng(0)
    for _ in range(200):
      mix = rng.uniform(0, 0.5)
      nearby = [
        (1 - mix) * weights + mix * rng.dirichlet(np.ones(len(weights)))
        for weights in (layers, *channels)
      ]
      assert self.price(nearby[0], nearby[1:], tau) > least - 1e-6

  def test_large_tau_is_the_uniform_mean(self):
    """In the second step too, when the errors of the first are known."""
    method = MAKERS["adaptive_features"](tau=1e6, memory=0.5)
    inputs = make_inputs(STUDENT_MAPS, TEACHER_MAPS)
    params, state = drawn(method.init, inputs)
    apply = jax.jit(method.apply)
    _, state, _ = apply(params, state, inputs)
    got = apply(params, state, inputs)[0]
    want = jax.jit(
      lambda params, inputs: by_hand_adaptive(params, pairs_of(inputs))
    )(params, inputs)
    assert float(got) == pytest.approx(float(want), rel=1e-4)

  @pytest.mark.parametrize(("second", "error"), [(0.0, 1.0), (-9.0, 100.0)])
  def test_weights_follow_the_errors_of_earlier_steps(self, second, error):
    """The first of two channels is explained; the second is not given up."""
    tau = 0.5
    method = MAKERS["adaptive_features"](tau=tau, memory=0.9)
    teacher = np.float32([[1, 1], [-1, 1]])
    student = teacher * np.float32([[1, second]])
    inputs = Inputs(
      Outputs(None, {"stage_0": student}),
      Outputs(None, {"stage_0": teacher}),
      np.zeros(2, np.int32),
      jnp.int32(0),
    )
    dense = {"kernel": np.eye(2, dtype=np.float32), "bias": np.zeros(2)}
    params = {"regressor_0": {"dense": jax.tree.map(np.float32, dense)}}
    state = drawn(method.init, inputs)[1]
    apply, losses_seen = jax.jit(method.apply), []
    for _ in range(3):
      loss, state, _ = apply(params, state, inputs)
      losses_seen.append(float(loss))
    later = error / (1 + np.exp(1 / tau))  # softmax of the errors (0, 1)
    assert losses_seen == pytest.approx([error / 2, later, later], rel=1e-5)

  def test_dead_channels_stay_finite(self):
    method = MAKERS["adaptive_features"]()
    inputs = make_inputs(((3,),), ((5,),))
    for alive in (np.zeros(5), np.arange(5) > 0):
      feats = np.float32(np.tile(alive, (4, 1)))
      now = inputs._replace(teacher=Outputs(None, {"stage_0": feats}))
      params, state = drawn(method.init, now)
      for _ in range(2):
        loss, state, _ = method.apply(params, state, now)
        assert np.isfinite(loss)


def test_embedding_has_length_one_and_survives_zero():
  x = np.float32([[3, 4], [0, 0]])

  @jax.jit
  def look(x):
    params = Embed(4).init(jax.random.key(0), x)
    slope = jax.grad(lambda x: Embed(4).apply(params, x).sum())(x)
    return Embed(4).apply(params, x), slope

  embedded, slope = look(x)
  lengths = np.linalg.norm(embedded, axis=-1)
  np.testing.assert_allclose(lengths, [1.0, 0.0], rtol=1e-6)
  assert np.all(np.isfinite(slope))
