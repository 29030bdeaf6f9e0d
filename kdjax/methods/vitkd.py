"""ViTKD: shallow layers mimicked, the deep layer generated from its rest."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core import checks
from kdjax.core.errors import UserError
from kdjax.core.method import Method, batch_mean, example_keys
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.core.task import KINDS
from kdjax.methods import _tokens
from kdjax.methods.registry import register


class _Student(nn.Module):
  """Brings the student's tokens to the teacher's, the deep ones with gaps."""

  width: int
  grid: tuple[int, int]

  @nn.compact
  def __call__(self, shallow, deep, mask):
    def aligned(x, name):
      if x.shape[-1] == self.width:
        return x
      return nn.Dense(self.width, name=name)(x)

    shallow = [aligned(x, f"align_{i}") for i, x in enumerate(shallow)]
    gap = self.param("mask_token", nn.initializers.zeros, (1, 1, self.width))
    x = jnp.where(mask[..., None], gap, aligned(deep, "align_deep"))
    x = x.reshape(x.shape[0], *self.grid, self.width)
    x = nn.relu(nn.Conv(self.width, (3, 3), name="conv_0")(x))
    x = nn.Conv(self.width, (3, 3), name="conv_1")(x)
    return jnp.stack(shallow, axis=1), x.reshape(*mask.shape, self.width)


@register("vitkd", objective="ce:1 + vitkd:1", reads=KINDS)
def vitkd(
  *,
  alpha: float | jax.Array | Schedule = 3e-5,
  beta: float | jax.Array | Schedule = 3e-6,
  lam: float = 0.5,
  shallow: int = 2,
  grid: tuple[int, int] | None = None,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
  student_deep_tap: str = "norm",
  teacher_deep_tap: str = "norm",
) -> Method:
  """Feature distillation for vision transformers.

  loss = alpha * sum over shallow layers of || A student - teacher ||^2
       + beta / lam * sum over erased tokens of || G(student) - teacher ||^2

  Matched: the patch tokens of the first layers, and those behind the last
  normalisation, which a generation block G has to make up where they were
  erased. Class and distillation tokens are left out, so that only one of the
  networks may have them. Learned: a linear map A for each layer where widths
  differ, the token that stands for erased ones, and G, two 3 x 3 convolutions
  with a ReLU between them. Default taps: `stage_*`, of which the first two are
  used, and `norm`. Cost: 18 * B * T * D^2 multiplications in G.

  The weights of the two parts are inside the loss, as published. Which tokens
  are erased is drawn anew for each example and step.

  Args:
    alpha: weight of the shallow layers, >= 0; a number or a schedule.
    beta: weight of the deep layer, likewise.
    lam: share of tokens erased, in (0, 1].
    shallow: number of shallow layers, >= 1.
    grid: rows and columns of the patches; None for a square.
    student_tap: names the student's shallow layers, each (B, T, D).
    teacher_tap: names the teacher's.
    student_deep_tap: names the student's deep layer, (B, T, D); of several the
      last.
    teacher_deep_tap: names the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a hyper-parameter outside its range.
    UserError: where the method is applied, if features are no tokens or make no
      grid, or numbers of patches differ.

  Example:
    >>> states = jnp.ones((2, 5, 4))
    >>> outputs = Outputs(None, {"stage_0": states, "norm": states})
    >>> inputs = Inputs(outputs, outputs, jnp.zeros(2, int), jnp.array(0))
    >>> params, key = vitkd().init(jax.random.key(0), inputs)
    >>> sorted(params)
    ['conv_0', 'conv_1', 'mask_token']

  Source:
    Yang et al. 2022, arXiv:2209.02432; `kdjax.losses.vitkd`.
  """
  _check(alpha, beta, lam, shallow)

  def matched(inputs):
    student = _tokens.states("vitkd", student_tap, inputs.student)
    teacher = _tokens.states("vitkd", teacher_tap, inputs.teacher)
    deep_s = _tokens.states("vitkd", student_deep_tap, inputs.student)[-1]
    deep_t = _tokens.states("vitkd", teacher_deep_tap, inputs.teacher)[-1]
    size = _grid(student[0].shape[1], grid)
    layers = min(shallow, len(student), len(teacher))
    (*first_s, last_s), (*first_t, last_t) = (
      [_patches(x, size) for x in (*side[:layers], deep)]
      for side, deep in ((student, deep_s), (teacher, deep_t))
    )
    module = _Student(last_t.shape[-1], size)
    return module, (first_s, last_s), (jnp.stack(first_t, axis=1), last_t)

  def init(rng, inputs):
    rng, key = jax.random.split(rng)
    module, student, _ = matched(inputs)
    mask = jnp.zeros(student[1].shape[:2], bool)
    return module.init(rng, *student, mask)["params"], key

  def apply(params, key, inputs):
    module, student, (shallow_t, deep_t) = matched(inputs)
    mask = _draw(example_keys(key, inputs), deep_t.shape[1], lam)
    shallow_s, deep_s = module.apply({"params": params}, *student, mask)
    weights = {"alpha": at(alpha, inputs.step), "beta": at(beta, inputs.step)}
    sides = (shallow_s, shallow_t, deep_s, deep_t)
    values = losses.vitkd(*sides, mask, lam=lam, **weights)
    return batch_mean(values, inputs), key, {}

  return Method(
    init,
    apply,
    (student_tap, student_deep_tap),
    (teacher_tap, teacher_deep_tap),
  )


def _check(alpha, beta, lam, shallow):
  check_value("alpha", alpha, lambda value: value >= 0)
  check_value("beta", beta, lambda value: value >= 0)
  checks.number("lam", lam, "a share in (0, 1]", lambda value: 0 < value <= 1)
  checks.whole_number("shallow", shallow)


def _draw(keys: jax.Array, count: int, share: float) -> jax.Array:
  """Returns (B, T) bool, True for the share of each example's tokens."""
  count_kept = int(count * (1 - share))

  def of_one(key):
    return jax.random.permutation(key, count) >= count_kept

  return jax.vmap(of_one)(keys)


def _grid(count: int, grid: tuple[int, int] | None) -> tuple[int, int]:
  """Returns rows and columns; a square with at most two tokens beside it."""
  if grid is not None:
    return tuple(grid)
  side = math.isqrt(count)
  if count - side**2 > 2:
    raise UserError(
      f"vitkd: {count} tokens are no square of patches with at most two extra"
      " tokens; give it as grid=(rows, columns)"
    )
  return side, side


def _patches(states: jax.Array, grid: tuple[int, int]) -> jax.Array:
  """Leaves out the extra tokens, which come first."""
  count, extra = grid[0] * grid[1], states.shape[1] - grid[0] * grid[1]
  if not 0 <= extra <= 2:
    raise UserError(
      f"vitkd: {states.shape[1]} tokens are not {grid[0]} x {grid[1]} patches"
      " with at most two extra tokens; give both networks the same patches, or"
      " grid=(rows, columns)"
    )
  return states[:, extra : extra + count]
