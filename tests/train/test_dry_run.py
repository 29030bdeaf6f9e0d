"""What a method cannot use, in words: whose tap, and what a cache lacks."""

import jax.numpy as jnp
import pytest

from kdjax.core.errors import UserError
from kdjax.core.teacher import stored_teacher
from kdjax.methods import make_objective, tap_arguments
from kdjax.models import make_model
from kdjax.taps import TapError
from kdjax.tasks import classification
from kdjax.train.dry_run import check_step

SAMPLE = jnp.zeros((1, 2, 2, 1))


@pytest.mark.parametrize(
  ("objective", "whose", "tap"),
  [
    ("fitnets(teacher_tap='stage_7')", "teacher", "stage_7"),
    ("fitnets(student_tap='stage_7')", "student", "stage_7"),
    ("rkd(teacher_tap='stage_9:in')", "teacher", "stage_9:in"),
    ("minilm", "teacher", "stage_*/attention/query"),
    ("simkd", "student", "projector"),
  ],
)
def test_tap_errors_say_whose_tap(objective, whose, tap):
  mlp = make_model("mlp(4, 4)", classes=3)
  with pytest.raises(TapError, match=f"^the {whose}'s tap") as error:
    check_step(
      mlp, mlp, make_objective(objective, steps=100), SAMPLE, classification(3)
    )
  assert error.value.whose == whose and str(error.value.tap) == tap


@pytest.mark.parametrize(
  ("objective", "tap", "whose", "expected"),
  [
    ("fitnets", "stage_*", "teacher", ["fitnets(teacher_tap='...')"]),
    ("fitnets", "stage_*", "student", ["fitnets(student_tap='...')"]),
    ("simkd", "projector", "student", ["simkd(student_tap='...')"]),
    (
      "minilm",
      "stage_*/attention/query",
      "student",
      ["minilm(student_attention='...')"],
    ),
    (
      "kd:1 + byot(feature_tap='x:in'):1",
      "x:in",
      "student",
      ["byot(feature_tap='...')"],
    ),
    (
      "fitnets:1 + sp:1",
      "stage_*",
      "teacher",
      ["fitnets(teacher_tap='...')", "sp(teacher_tap='...')"],
    ),
    ("kd", "stage_0", "teacher", []),
  ],
)
def test_tap_errors_say_which_argument_to_write(
  objective, tap, whose, expected
):
  assert tap_arguments(objective, tap, whose) == expected


@pytest.mark.parametrize(
  ("feats", "said"),
  [
    ({}, "the cache has no features"),
    ({"head:in": jnp.ones((3, 4))}, "the cache has only the features head:in"),
  ],
)
def test_cache_errors_say_that_it_has_no_features_and_how_to_write_them(
  feats, said
):
  cache = stored_teacher(jnp.eye(3), feats)
  with pytest.raises(UserError) as error:
    mlp = make_model("mlp(4)", classes=3)
    check_step(
      mlp,
      cache,
      make_objective("fitnets", steps=100),
      SAMPLE,
      classification(3),
    )
  message = str(error.value)
  assert message.startswith("the teacher's tap 'stage_*': ") and said in message
  assert "`launch.py cache`" in message and "--cache_taps='stage_*'" in message


@pytest.mark.parametrize(
  ("objective", "said"),
  [
    ("fitnets(teacher_tap=stage_0)", "teacher_tap='stage_0'"),
    ("divergence(kind=reverse_kl)", "kind='reverse_kl'"),
    ("kd(temperature=warm)", "temperature=warm is neither a number nor"),
    ("fitnets(teacher_tap=3)", "a tap is a text in quotes"),
  ],
)
def test_a_text_stands_in_quotes(objective, said):
  mlp = make_model("mlp(4)", classes=3)
  with pytest.raises(UserError) as error:
    check_step(
      mlp, mlp, make_objective(objective, steps=100), SAMPLE, classification(3)
    )
  assert said in str(error.value)
