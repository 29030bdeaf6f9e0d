"""The numerics contract, over every exported loss.

Each loss is compiled twice: once in float32 over all scenarios at a time (under
vmap), once in x64 next to half precision. The checks read these results.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import CASES, couples_batch
from scenarios import DEAD, ROW, caller, results, typed

from kdjax import losses

NAMES = sorted(CASES)


def losses_that(**facts):
  return [
    name
    for name in NAMES
    if all(getattr(CASES[name], key) == value for key, value in facts.items())
  ]


@functools.cache
def precise(name):
  """Returns outputs for half precisions and float64, and derivatives in x64."""
  case = CASES[name]
  student, teacher, *others = case.inputs()
  steps = np.random.default_rng(3).normal(size=(2, *student.shape))
  steps[1] *= case.learns_teacher
  with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
    half, brain, exact = (
      typed((student, teacher), kind)
      for kind in (jnp.float16, jnp.bfloat16, jnp.float64)
    )
    moved = [
      [x + h * d for x, d in zip(exact, steps, strict=True)]
      for h in (1e-5, -1e-5)
    ]
    widened = [[x.astype(jnp.float64) for x in y] for y in (half, brain)]
    sides = [jnp.stack(x) for x in zip(exact, *widened, *moved, strict=True)]
    found = jax.jit(functools.partial(_in_x64, caller(name)))(
      half, brain, sides, typed(others, jnp.float64)
    )
  got, wide, grads = jax.tree.map(np.asarray, found)
  return {
    "half": (got[0], wide[1]),
    "brain": (got[1], wide[2]),
    "float64": wide[0],
    "slope": sum(np.sum(g * d) for g, d in zip(grads, steps, strict=True)),
    "difference": np.sum(wide[3] - wide[4]) / 2e-5,
  }


def _in_x64(call, half, brain, sides, others):
  # Traced once a dtype: tracing is what this suite spends its time on.
  call = jax.jit(call)

  def total(student, teacher):
    return jnp.sum(call(student, teacher, *others))

  wide = jax.vmap(lambda s, t: call(s, t, *others))(*sides)
  grads = jax.grad(total, argnums=(0, 1))(*(x[0] for x in sides))
  return [call(*half, *others), call(*brain, *others)], wide, grads


def assert_close(got, want, share, floor=1e-6):
  scale = np.max(np.abs(want)) if np.size(want) else 0.0
  np.testing.assert_allclose(got, want, rtol=share, atol=floor + share * scale)


def test_every_exported_loss_has_a_case():
  exported = {getattr(losses, name).__name__ for name in losses.__all__}
  missing = exported - set(CASES)
  assert not missing, f"enter {sorted(missing)} in tests/losses/loss_cases.py"
  assert not set(CASES) - exported


@pytest.mark.parametrize("name", NAMES)
def test_finite_everywhere(name):
  for scenario, (out, grads) in results(name).items():
    assert np.isfinite(out).all(), f"{scenario}: {out}"
    for side, grad in zip(("student", "teacher"), grads, strict=True):
      assert np.isfinite(grad).all(), f"{scenario}: gradient of the {side}"


@pytest.mark.parametrize("name", losses_that(learns_teacher=False))
def test_teacher_is_a_constant(name):
  for scenario, (_, (_, teacher)) in results(name).items():
    assert not teacher.any(), scenario


@pytest.mark.parametrize("name", NAMES)
def test_student_learns(name):
  _, (student, _) = results(name)["plain"]
  updates = {"dino_center_update", "crd_update", "ofd_margin"}
  assert student.any() or name in updates


@pytest.mark.parametrize("name", losses_that(zero=True))
def test_zero_where_student_is_teacher(name):
  out, _ = results(name)["equal"]
  assert_close(out, np.zeros_like(out), 0, floor=2e-6)


@pytest.mark.parametrize("name", losses_that(order=True))
def test_batch_order_does_not_matter(name):
  case = CASES[name]
  plain, reverse = (results(name)[key][0] for key in ("plain", "reversed"))
  assert_close(reverse, plain[::-1] if plain.ndim else plain, case.rounding)


@pytest.mark.parametrize("name", losses_that(permute=True))
def test_class_or_feature_order_does_not_matter(name):
  plain, permuted = (results(name)[key][0] for key in ("plain", "permuted"))
  assert_close(permuted, plain, CASES[name].rounding)


@pytest.mark.parametrize("name", losses_that(shift=True))
def test_offset_of_a_row_does_not_matter(name):
  plain, shifted = (results(name)[key] for key in ("plain", "shifted"))
  assert_close(shifted[0], plain[0], 1e-6, floor=1e-7)
  assert_close(shifted[1][0], plain[1][0], 1e-6, floor=1e-7)


@pytest.mark.parametrize(
  "name",
  [
    n
    for n in NAMES
    if n != "standardize_logits" and CASES[n].family in ("logits", "labelled")
  ],
)
def test_dead_classes_get_no_gradient(name):
  _, (student, _) = results(name)["dead classes"]
  assert not student[:, DEAD].any()


# Sorted probabilities, pairs of views and stored classes are no pair of softmaxes.
APART = {"uld", "dino", "sparse_kd", "standardize_logits"}
ONE_SIDED = ("masked by the student", "masked by the teacher")
NO_CLASS = (
  "dead row of the student",
  "dead row of the teacher",
  "no class in common",
)
SHARED = [
  name
  for name in NAMES
  if CASES[name].family in ("logits", "labelled") and name not in APART
]


@pytest.mark.parametrize("scenario", ONE_SIDED)
@pytest.mark.parametrize("name", SHARED)
def test_class_masked_by_one_side_is_as_if_masked_by_both(name, scenario):
  want, (slopes, _) = results(name)["dead classes"]
  got, (student, _) = results(name)[scenario]
  assert_close(got, want, CASES[name].rounding)
  assert_close(student, slopes, CASES[name].rounding)
  assert not student[:, DEAD].any()


@pytest.mark.parametrize("scenario", NO_CLASS)
@pytest.mark.parametrize("name", SHARED)
def test_row_without_a_class_in_common_gives_nothing(name, scenario):
  out, (student, _) = results(name)[scenario]
  assert not student[ROW].any()
  assert not couples_batch(name) or out >= 0
  assert couples_batch(name) or out[ROW] == 0


@pytest.mark.parametrize("scenario", ONE_SIDED + NO_CLASS)
@pytest.mark.parametrize("name", [n for n in SHARED if CASES[n].zero])
def test_one_sided_masks_give_no_negative_divergence(name, scenario):
  assert (results(name)[scenario][0] >= 0).all()


@pytest.mark.parametrize("name", losses_that(drops=True))
def test_dead_classes_are_as_good_as_removed(name):
  student, teacher, *labels = CASES[name].inputs()
  alive = np.delete(np.arange(student.shape[-1]), DEAD)
  labels = [np.searchsorted(alive, x) for x in labels]
  inputs = typed((student[:, alive], teacher[:, alive], *labels), jnp.float32)
  want = jax.jit(caller(name))(*inputs)
  assert_close(results(name)["dead classes"][0], np.asarray(want), 1e-5)


@pytest.mark.parametrize("name", losses_that(family="labelled"))
def test_rows_without_a_label_are_zero_or_what_needs_none(name):
  out, (student, _) = results(name)["no labels"]
  if name == "ofa":  # at eps = 1
    soft, (of_soft, _) = results("soft_cross_entropy")["plain"]
    out, student = out - soft, student - of_soft
  assert_close(out, np.zeros_like(out), 0)
  assert_close(student, np.zeros_like(student), 0)


@pytest.mark.parametrize("name", losses_that(family="scores"))
def test_empty_mask_is_zero(name):
  out, (student, _) = results(name)["empty mask"]
  if name != "attention_inner":  # takes no mask
    assert not out.any()
    assert not student.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_float32(name):
  for kind in ("half", "brain"):
    got, want = precise(name)[kind]
    assert got.dtype == np.float32
    assert want.dtype == np.float64
    assert_close(got, want, CASES[name].rounding)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_float64_agrees_and_stays(name):
  want = precise(name)["float64"]
  assert want.dtype == np.float64
  assert_close(results(name)["plain"][0], want, CASES[name].rounding)


@pytest.mark.slow
@pytest.mark.parametrize("name", losses_that(weighs=False))
def test_gradient_is_the_finite_difference(name):
  found = precise(name)
  assert_close(found["slope"], found["difference"], 1e-6, floor=1e-8)


@pytest.mark.slow  # every primitive is compiled on its own
@pytest.mark.parametrize("name", NAMES)
def test_eager_is_jitted_and_vmapped(name):
  with jax.numpy_dtype_promotion("strict"):
    got = caller(name)(*typed(CASES[name].inputs(), jnp.float32))
  assert_close(np.asarray(got), results(name)["plain"][0], CASES[name].rounding)


@pytest.mark.parametrize(
  "name", [name for name in NAMES if CASES[name].bad_axis is not None]
)
def test_sizes_that_differ_are_refused(name):
  case = CASES[name]
  student, teacher, *others = typed(case.inputs(), jnp.float32)
  size = teacher.shape[case.bad_axis] - 1
  teacher = jax.lax.slice_in_dim(teacher, 0, size, axis=case.bad_axis)
  with pytest.raises(ValueError, match=rf"^{name}: ") as error:
    jax.eval_shape(caller(name), student, teacher, *others)
  shapes = re.findall(r"\(\d[\d, ]*\)", str(error.value))
  assert len(shapes) >= 2, f"names no two shapes: {error.value}"


@pytest.mark.parametrize("name", [n for n in NAMES if not couples_batch(n)])
def test_one_value_an_example(name):
  shape = results(name)["plain"][0].shape
  scalars = {"masked_mean", "srd", "dino_center_update"}
  assert shape[:1] == (4,) or name in scalars
