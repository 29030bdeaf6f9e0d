import functools
import inspect
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses as compiled
from hand import P, Q, logits
from loss_cases import CASES
from scenarios import typed

from kdjax import losses
from kdjax.losses import checks, chunked

SOFTMAX = sorted(
  name
  for name, case in CASES.items()
  if case.family in ("logits", "labelled")
  and name not in ("binary_kd", "logit_mse", "standardize_logits")
)
# Who takes what: every name of a temperature, and every weight.
POSITIVE = [
  (name, argument)
  for name in [*SOFTMAX, "binary_kd", "cwd", "crd"]
  for argument in inspect.signature(getattr(losses, name)).parameters
  if argument.endswith("temperature") or (name, argument) == ("ttm", "gamma")
]
WEIGHTS = [
  ("dkd", "alpha"),
  ("dkd", "beta"),
  ("nkd", "gamma"),
  ("dist", "beta"),
  ("dist", "gamma"),
  ("ensemble_kd", "weights"),
  ("rkd", "distance_weight"),
  ("rkd", "angle_weight"),
  ("srrl", "feature_weight"),
  ("srrl", "logit_weight"),
  ("vitkd", "alpha"),
  ("minilmv2", "weights"),
  ("binary_kd", "positive_weight"),
  ("binary_kd", "negative_weight"),
]
SHARES = [
  ("symmetric_kl", "lam"),
  ("adaptive_kl", "mu"),
  ("crd_update", "momentum"),
  ("dino_center_update", "momentum"),
]
# Made when they are used: arrays before the tests' settings warn.
NEVER = {
  "nan": lambda: float("nan"),
  "np.float32(nan)": lambda: np.float32("nan"),
  "np.float16(-inf)": lambda: np.float16("-inf"),
  "jnp.array(nan)": lambda: jnp.array(jnp.nan),
  "bfloat16 -1": lambda: jnp.array(-1, jnp.bfloat16),
  "np.int64(-2)": lambda: np.int64(-2),
  "np.array(-2.)": lambda: np.array(-2.0),
  "Fraction(-1, 2)": lambda: Fraction(-1, 2),
  "text": lambda: "4",
}
NOT_POSITIVE = NEVER | {
  "inf": lambda: float("inf"),
  "jnp.array(inf)": lambda: jnp.array(jnp.inf),
  "0": lambda: 0,
  "np.int8(0)": lambda: np.int8(0),
  "np.uint8(0)": lambda: np.uint8(0),
  "jnp.array(0)": lambda: jnp.array(0),
  "0 in float32": lambda: 1e-60,
  "inf in float32": lambda: 10**400,
}


def run(name, **keywords):
  case = CASES[name]
  function = getattr(losses, name)
  inputs = typed(case.inputs(), jnp.float32)
  bound = functools.partial(function, **keywords)
  rest = {key: x for key, x in case.kwargs.items() if key not in keywords}
  return case.call(bound, *inputs, **rest)


def check_refused(name, argument, values):
  for value in values.values():
    keywords = {argument: value()}
    # Traced alone: nothing is computed before it is refused.
    with pytest.raises(ValueError, match=f"^{name}: {argument} must be "):
      jax.eval_shape(functools.partial(run, name, **keywords))


@pytest.mark.parametrize(("name", "argument"), POSITIVE)
def test_no_number_of_any_type_that_is_not_positive_is_taken(name, argument):
  check_refused(name, argument, NOT_POSITIVE)


@pytest.mark.parametrize(("name", "argument"), WEIGHTS)
def test_no_weight_of_any_type_that_is_negative_or_not_finite_is_taken(
  name, argument
):
  check_refused(name, argument, NEVER | {"inf": NOT_POSITIVE["inf"]})


@pytest.mark.parametrize(("name", "argument"), SHARES)
def test_no_share_of_any_type_outside_its_range_is_taken(name, argument):
  check_refused(name, argument, NEVER)


@pytest.mark.parametrize("name", ["kd", "dkd", "nkd", "wsld", "ofa"])
def test_each_entry_of_an_array_of_temperatures_is_checked(name):
  temperatures = np.array([1.0, 2.0, np.nan, 4.0])
  with pytest.raises(ValueError, match=f"^{name}: temperature must be > 0"):
    jax.eval_shape(functools.partial(run, name, temperature=temperatures))


@pytest.mark.parametrize("of_two", [np.float32, np.int64, np.uint8, np.array])
@pytest.mark.parametrize(
  ("name", "argument"), [("kd", "temperature"), ("dkd", "beta"), ("ofa", "eps")]
)
def test_a_number_of_any_type_is_that_number(name, argument, of_two):
  want = run(name, **{argument: 2.0})
  np.testing.assert_array_equal(run(name, **{argument: of_two(2)}), want)
  np.testing.assert_array_equal(run(name, **{argument: jnp.array(2)}), want)


@pytest.mark.parametrize("value", NOT_POSITIVE)
def test_each_of_mlkds_temperatures_is_checked(value):
  temperatures = (2.0, NOT_POSITIVE[value]())
  loss = functools.partial(losses.mlkd, temperatures=temperatures)
  with pytest.raises(ValueError, match="^mlkd: temperature must be "):
    jax.eval_shape(loss, logits(Q), logits(P))


def test_what_is_traced_is_let_through():
  for checked in (checks.positive, checks.weights):
    jax.jit(lambda x, checked=checked: checked("kd", temperature=[x, 1.0]))(
      -1.0
    )


@pytest.mark.parametrize("k", [0, 4, 2.5, np.float32("nan"), jnp.array(7), "2"])
def test_k_is_a_whole_number_of_classes(k):
  for module, inputs in ((losses, (logits(Q), logits(P))), (chunked, HEADS())):
    with pytest.raises(ValueError, match="topk_kd: k must be in 1 to 3, got"):
      module.topk_kd(*inputs, k=k)


def test_k_may_be_of_any_type():
  kinds = 2, np.int64(2), np.array(2), jnp.array(2)
  want, *found = jax.jit(lambda *x: [losses.topk_kd(*x, k=k) for k in kinds])(
    logits(Q), logits(P)
  )
  np.testing.assert_array_equal(found, [want] * 3)


def HEADS(classes=3):
  hidden = jnp.ones((2, 4))
  return hidden, jnp.ones((4, classes)), hidden, jnp.zeros((4, classes))


# Those of a student and a teacher.
CHUNKED = sorted(
  name
  for name in {*chunked.__all__} - {"cross_entropy", "gkd", "jsd", "top_class"}
  if not isinstance(getattr(chunked, name), type)
)


@pytest.mark.parametrize("name", CHUNKED)
def test_chunked_losses_take_no_such_number_either(name):
  keywords = {"k": 2} if name == "topk_kd" else {}
  function = getattr(chunked, name)
  for value in (0, np.float32(-2), np.array(np.inf), jnp.array([1.0, -1.0])):
    with pytest.raises(
      ValueError, match=rf"^chunked\.{name}: temperature must"
    ):
      function(*HEADS(), temperature=value, **keywords)
  with pytest.raises(ValueError, match=rf"^chunked\.{name}: label_weight must"):
    function(*HEADS(), label_weight=np.float32("nan"), **keywords)


@pytest.mark.parametrize("name", SOFTMAX)
def test_one_logit_is_refused_and_the_way_out_is_two(name):
  case, function = CASES[name], getattr(losses, name)
  student, teacher, *others = typed(case.inputs(), jnp.float32)
  others = [jnp.zeros_like(x) for x in others]
  if name == "sparse_kd":
    with pytest.raises(ValueError, match="^sparse_kd: .* two logits"):
      function(student[:, :1], teacher[:, :1], jnp.zeros((4, 1), int))
    return
  kwargs = {"k": 1} if name == "topk_kd" else case.kwargs
  with pytest.raises(ValueError, match=rf"^{name}: .* two logits \(0, z\)"):
    case.call(function, student[:, :1], teacher[:, :1], *others, **kwargs)


@pytest.mark.parametrize("name", CHUNKED)
def test_a_vocabulary_of_one_is_refused(name):
  keywords = {"k": 1} if name == "topk_kd" else {}
  with pytest.raises(ValueError, match=rf"^chunked\.{name}: .* two logits"):
    getattr(chunked, name)(*HEADS(1), **keywords)


def test_masks_may_leave_one_class():
  both = np.array([logits(Q), logits(P)])
  both[..., 1:] = -np.inf
  assert compiled.kd(*both) == 0


def test_one_place_or_key_is_no_class():
  one = np.ones((1, 1, 1, 3), np.float32)
  assert compiled.cwd(one, 0 * one) == 0
  scores = np.ones((1, 2, 1, 1), np.float32)
  assert compiled.attention_kl(scores, -scores) == 0


MASKED = ["attention_mse", "attention_kl", "minilm", "minilmv2", "vitkd"]


@pytest.mark.parametrize("name", MASKED)
def test_float_weights_in_a_mask_that_takes_none_are_refused(name):
  case = CASES[name]
  student, teacher, keep = typed(case.inputs(), jnp.float32)
  call = functools.partial(case.call, getattr(losses, name), **case.kwargs)
  kept = np.asarray(keep, np.float32)
  for weights in (kept * 0.5, kept * 2, np.where(kept, kept, np.nan)):
    with pytest.raises(ValueError, match="mask must be boolean, .* mask > 0"):
      call(student, teacher, weights)
  with pytest.raises(ValueError, match="mask must be boolean, .* mask > 0"):
    jax.eval_shape(call, student, teacher, keep * 1.0)


@pytest.mark.parametrize("name", ["attention_mse", "attention_kl", "vitkd"])
def test_a_mask_of_zeros_and_ones_of_any_type_is_a_mask(name):
  case = CASES[name]
  student, teacher, keep = typed(case.inputs(), jnp.float32)
  call = functools.partial(case.call, getattr(losses, name), **case.kwargs)
  # Floats are looked at, and so are constants.
  masks = [keep.astype(x) for x in (bool, jnp.float32, jnp.int32, jnp.uint8)]
  want, *found = jax.jit(lambda *pair: [call(*pair, x) for x in masks])(
    student, teacher
  )
  np.testing.assert_array_equal(found, [want] * 3)


@pytest.mark.parametrize(
  ("value", "said"),
  [
    (np.inf, "temperature must be > 0 and finite, got inf"),
    (-1.0, "temperature must be > 0, got -1.0"),
    (np.nan, "temperature must be > 0, got nan"),
  ],
)
def test_what_is_infinite_is_told_that_it_must_be_finite(value, said):
  with pytest.raises(ValueError, match=said):
    losses.kd(logits(Q), logits(P), temperature=value)
