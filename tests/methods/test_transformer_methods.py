"""What is particular about the methods for transformers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import MAKERS, losses, make_objective
from networks import drawn
from scipy.special import softmax

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import terms_of

BATCH = 3
# Of the tokens of a text, whose last is padding.
IDS = np.tile([[7, 5, 3, 2, 0]], (BATCH, 1))


def outputs(seed, *, depth=2, width=8, heads=2, tokens=5):
  """What taps show of a transformer with stock attention."""
  rng = np.random.default_rng(seed)

  def draw(*shape):
    return rng.normal(size=shape).astype(np.float32)

  feats = {"stem": draw(BATCH, tokens, width), "head:in": draw(BATCH, width)}
  for i in range(depth):
    feats[f"stage_{i}"] = draw(BATCH, tokens, width)
    for part in ("query", "key", "value"):
      feats[f"stage_{i}/attention/{part}"] = draw(
        BATCH, tokens, heads, width // heads
      )
    feats[f"stage_{i}/attention:weights"] = softmax(
      draw(BATCH, heads, tokens, tokens), axis=-1
    )
  logits = draw(BATCH, 4)
  return Outputs(logits, feats | {"norm": draw(BATCH, tokens, width)})


def inputs_of(student=None, teacher=None):
  return Inputs(
    outputs(0, **(student or {})),
    outputs(1, **({"depth": 4, "width": 16} | (teacher or {}))),
    np.array([0, 1, 2]),
    np.int32(0),
    index=np.array([4, 0, 2]),
  )


@functools.cache
def method_of(text):
  return spec.build("method", spec.parse(text), MAKERS)


def value(text, inputs, params=None):
  """The loss of one method, and the parameters that it was taken at."""
  method = method_of(text)
  made, state = drawn(method.init, inputs)
  params = made if params is None else params
  return method.apply(params, state, inputs)[0], params


def projected(outputs, layer):
  return [
    outputs.feats[f"stage_{layer}/attention/{part}"].swapaxes(1, 2)
    for part in ("query", "key", "value")
  ]


def by_hand_minilm(inputs):
  return losses.minilm(
    tuple(projected(inputs.student, 1)), tuple(projected(inputs.teacher, 3))
  )


def joined(outputs, layer):
  return tuple(
    outputs.feats[f"stage_{layer}/attention/{part}"].reshape(BATCH, 5, -1)
    for part in ("query", "key", "value")
  )


def by_hand_minilmv2(layer, heads):
  return lambda inputs: losses.minilmv2(
    joined(inputs.student, 1),
    joined(inputs.teacher, layer),
    relation_heads=heads,
  )


def by_hand_maps(loss, **kwargs):
  def value(inputs):
    return (
      sum(
        loss(
          inputs.student.feats[f"stage_{s}/attention:weights"],
          inputs.teacher.feats[f"stage_{t}/attention:weights"],
          **kwargs,
        )
        for s, t in ((0, 1), (1, 3))
      )
      / 2
    )

  return value


@pytest.mark.parametrize(
  ("text", "by_hand"),
  [
    ("minilm", by_hand_minilm),
    ("minilmv2", by_hand_minilmv2(3, 8)),
    ("minilmv2(relation_heads=4)", by_hand_minilmv2(3, 4)),
    ("minilmv2(teacher_layer=2)", by_hand_minilmv2(2, 8)),
    ("attention_maps", by_hand_maps(losses.attention_kl, from_probs=True)),
    ("attention_maps(distance='mse')", by_hand_maps(losses.attention_mse)),
    ("attention_maps(distance='inner')", by_hand_maps(losses.attention_inner)),
  ],
)
def test_is_the_loss_by_hand(text, by_hand):
  inputs = inputs_of()
  want = jax.jit(lambda inputs: jnp.mean(by_hand(inputs)))(inputs)
  assert float(value(text, inputs)[0]) == pytest.approx(float(want), rel=1e-6)


def test_tinybert_by_hand():
  inputs = inputs_of()
  loss, params = value("tinybert", inputs)
  assert list(params) == ["from_8_to_16"]

  def scores(outputs, layer):
    query, key, _ = projected(outputs, layer)
    return query @ jnp.swapaxes(key, 2, 3) / query.shape[-1] ** 0.5

  def mapped(states):
    learned = params["from_8_to_16"]
    return states @ learned["kernel"] + learned["bias"]

  @jax.jit
  def by_hand(student, teacher):
    return losses.tinybert(
      (
        [scores(student, 0), scores(student, 1)],
        [mapped(student.feats[k]) for k in ("stem", "stage_0", "stage_1")],
      ),
      (
        [scores(teacher, 1), scores(teacher, 3)],
        [teacher.feats[k] for k in ("stem", "stage_1", "stage_3")],
      ),
    )

  with jax.numpy_rank_promotion("allow"):
    want = by_hand(inputs.student, inputs.teacher)
  assert float(loss) == pytest.approx(float(np.mean(want)), rel=1e-5)


@pytest.mark.parametrize(
  ("strategy", "layers"),
  [
    ("skip", [(0, 1), (1, 3), (2, 5), (3, 7), (4, 9)]),
    ("last", [(0, 6), (1, 7), (2, 8), (3, 9), (4, 10)]),
  ],
)
def test_patient_kd_takes_the_published_layers(strategy, layers):
  """A student of 6 layers and a teacher of 12, as in the paper."""
  inputs = inputs_of({"depth": 6}, {"depth": 12, "width": 8})
  loss, params = value(f"patient_kd(strategy='{strategy}')", inputs)
  assert not params
  want = np.mean(
    [
      losses.patient_kd(
        inputs.student.feats[f"stage_{s}"][:, 0],
        inputs.teacher.feats[f"stage_{t}"][:, 0],
      )
      for s, t in layers
    ]
  )
  assert float(loss) == pytest.approx(float(want), rel=1e-6)


def test_patient_kd_learns_a_map_where_widths_differ():
  params = value("patient_kd", inputs_of())[1]
  assert jax.tree.map(jnp.shape, params) == {
    "layer_0": {"kernel": (8, 16), "bias": (16,)}
  }


def test_heads_are_averaged_where_they_differ():
  inputs = inputs_of({"heads": 1})
  want = np.mean(
    [
      losses.attention_mse(
        inputs.student.feats[f"stage_{s}/attention:weights"],
        inputs.teacher.feats[f"stage_{t}/attention:weights"].mean(1)[:, None],
      )
      for s, t in ((0, 1), (1, 3))
    ]
  )
  loss, _ = value("attention_maps(distance='mse')", inputs)
  assert float(loss) == pytest.approx(float(want), rel=1e-6)


@pytest.mark.parametrize(
  "text",
  [
    *("minilm", "minilmv2", "attention_maps"),
    pytest.param("attention_maps(distance='inner')", marks=pytest.mark.slow),
  ],
)
def test_padding_of_a_text_is_left_out(text):
  """The last token is padding: the loss is that of the others alone."""
  inputs = inputs_of()

  def padded(outputs, fill):
    feats = {key: x.copy() for key, x in outputs.feats.items()}
    for key, x in feats.items():
      if key.endswith(":weights"):
        x[..., -1] = 0
        x[:, :, -1] = fill
      elif x.ndim == 4:
        x[:, -1] = fill
    return Outputs(outputs.answers, feats | {"stem:in": IDS})

  text = text.rstrip(")") + (", " if "(" in text else "(")
  one, other = (
    value(
      text + "mask_tap='stem:in')",
      inputs._replace(
        student=padded(inputs.student, fill),
        teacher=padded(inputs.teacher, -fill),
      ),
    )[0]
    for fill in (0.25, 3.0)
  )
  assert float(one) == pytest.approx(float(other), rel=1e-6)
  assert float(value(text + ")", inputs)[0]) != pytest.approx(float(one))


def test_tinybert_leaves_scores_of_padded_keys_out():
  inputs = inputs_of()

  def with_last_key(fill):
    feats = {key: x.copy() for key, x in inputs.student.feats.items()}
    for key, x in feats.items():
      if key.endswith("key"):
        x[:, -1] = fill
    feats["stem:in"] = IDS
    return inputs._replace(student=Outputs(inputs.student.answers, feats))

  for tap, same in (("mask_tap='stem:in'", True), ("", False)):
    one, other = (
      float(value(f"tinybert({tap})", with_last_key(fill))[0])
      for fill in (1.0, 4.0)
    )
    assert (one == pytest.approx(other, rel=1e-6)) == same


class TestVitkd:
  def test_both_parts_by_hand(self):
    """Equal widths: no adaptors; the erased tokens hold 0 before the block."""
    inputs = inputs_of(teacher={"width": 8, "depth": 2})
    loss, params = value("vitkd(beta=0.0, alpha=1.0)", inputs)
    assert sorted(params) == ["conv_0", "conv_1", "mask_token"]
    mimicked = sum(
      np.sum(
        np.square(
          inputs.student.feats[key][:, 1:] - inputs.teacher.feats[key][:, 1:]
        )
      )
      for key in ("stage_0", "stage_1")
    )
    assert float(loss) == pytest.approx(float(mimicked) / BATCH, rel=1e-5)
    nothing = jax.tree.map(np.zeros_like, params)
    whole, _ = value("vitkd(alpha=0.0, beta=1.0, lam=1.0)", inputs, nothing)
    want = np.sum(np.square(inputs.teacher.feats["norm"][:, 1:])) / BATCH
    assert float(whole) == pytest.approx(float(want), rel=1e-5)

  def test_erased_tokens_are_drawn_for_each_step_and_example(self):
    inputs = inputs_of()
    text = "vitkd(alpha=0.0, beta=1.0)"
    first, params = value(text, inputs)
    later, _ = value(text, inputs._replace(step=np.int32(1)), params)
    assert float(first) != float(later)
    order = np.array([2, 0, 1])
    turned = jax.tree.map(lambda x: x[order] if x.ndim else x, inputs)
    assert float(value(text, turned, params)[0]) == pytest.approx(
      float(first), rel=1e-5
    )

  def test_one_network_may_have_a_distillation_token(self):
    inputs = inputs_of({"tokens": 6})
    assert np.isfinite(value("vitkd", inputs)[0])
    assert np.isfinite(value("vitkd(grid=(1, 4))", inputs)[0])


@pytest.mark.parametrize(
  ("text", "student", "message"),
  [
    ("minilm", {"heads": 4}, "minilmv2"),
    ("tinybert", {"heads": 4}, "minilmv2"),
    ("minilm", {"tokens": 6}, "6 tokens and the teacher 5"),
    ("minilmv2", {"tokens": 6}, "6 tokens and the teacher 5"),
    ("tinybert", {"tokens": 6}, "6 tokens and the teacher 5"),
    ("attention_maps", {"tokens": 6}, "6 tokens and the teacher 5"),
    ("vitkd", {"tokens": 10}, "same patches"),
    ("vitkd", {"tokens": 8}, "no square"),
    ("minilmv2(relation_heads=3)", {}, "divide the widths 8"),
    ("minilmv2(teacher_layer=4)", {}, "4 attention layers"),
    ("patient_kd", {"depth": 1}, "need two"),
    ("patient_kd(student_tap='head:in')", {}, "tokens"),
    ("vitkd(student_tap='head:in')", {}, "tokens"),
    ("minilm(student_attention='stage_*')", {}, "names no feature"),
    ("attention_maps(student_tap='stage_*')", {}, ":weights"),
    ("minilm(mask_tap='stem')", {}, "mask_tap"),
  ],
)
def test_what_does_not_fit_is_refused(text, student, message):
  with pytest.raises(UserError, match=message):
    value(text, inputs_of(student))


@pytest.mark.parametrize(
  "text",
  [
    "patient_kd(strategy='first')",
    "attention_maps(distance='cosine')",
    "minilmv2(relation_heads=0)",
    "minilmv2(weights=(1.0,))",
    "vitkd(lam=0)",
    "vitkd(shallow=0)",
    "vitkd(alpha=-1)",
  ],
)
def test_impossible_hyper_parameters_are_refused(text):
  with pytest.raises(UserError):
    make_objective(text)


@pytest.mark.parametrize(
  ("text", "terms"),
  [
    ("vitkd", ["ce:1.0", "vitkd:1.0"]),
    (
      "patient_kd(strategy='last')",
      [
        "ce:0.3",
        "kd(temperature=10):0.7",
        "patient_kd(strategy='last'):0.65",
      ],
    ),
    ("attention_maps", ["ce:1.0", "attention_maps:1.0"]),
    ("vkd", ["ce:1.0", "vkd:1.0", "kd(temperature=1):1.0"]),
    ("srd", ["ce:1.0", "srd:2.0", "kd(temperature=1):1.0"]),
    ("crd", ["ce:1.0", "crd:0.8"]),
  ],
)
def test_published_objectives(text, terms):
  assert list(map(str, terms_of(text))) == terms


def test_tinyberts_prediction_stage_is_classes_times_the_authors():
  """Four classes, q = 1/4 each, p = (2, 1, 1, 1) / 5.

  Theirs: mean over 4 classes of -p log q = ln 4 / 4, gradient (q - p) / 4.
  Ours: sum of p log(p / q) = 0.4 ln 1.6 + 0.6 ln 0.8, gradient q - p.
  """
  method = make_objective("tinybert", steps=100)
  inputs = inputs_of()
  params, state = method.init(jax.random.key(0), inputs)
  teacher = inputs.teacher._replace(answers=np.log(np.float32([[2, 1, 1, 1]])))

  def loss(logits):
    student = inputs.student._replace(answers=logits)
    now = inputs._replace(
      student=student,
      teacher=teacher,
      labels=jnp.zeros(1, int),
      mask=None,
      step=jnp.int32(99),
    )
    return method.apply(params, state, now)[0]

  found, slope = jax.jit(jax.value_and_grad(loss))(jnp.zeros((1, 4)))
  assert float(found) == pytest.approx(0.0541152, abs=1e-6)
  authors = np.array([[-0.0375, 0.0125, 0.0125, 0.0125]])
  np.testing.assert_allclose(slope, 4 * authors, atol=1e-7)


@pytest.mark.parametrize(
  ("text", "last", "switch"),
  [("tinybert", "kd", 87), ("minilm", "ce", 50), ("minilmv2", "ce", 50)],
)
def test_stages(text, last, switch):
  """First the method alone, then the other loss alone."""
  method = make_objective(text, steps=100)
  inputs = inputs_of()
  params, state = drawn(method.init, inputs)
  parts_of = jax.jit(lambda inputs: method.parts(params, state, inputs)[0])
  for step in (0, switch - 1, switch, 99):
    parts = parts_of(inputs._replace(step=jnp.int32(step)))
    active = {name for name, part in parts.items() if float(part)}
    assert active == {text if step < switch else last}
