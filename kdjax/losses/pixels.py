"""Losses between the places of one map: which of them are alike."""

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, pooling


def pairwise(
  student: jax.Array, teacher: jax.Array, *, size: tuple[int, int] = (8, 8)
) -> jax.Array:
  """Squared differences of how alike each two places of a map are.

  a_ij = <f_i, f_j> / (|f_i| |f_j|) over the places i, j of a grid, loss_b =
  mean_ij (a_ij(student) - a_ij(teacher))^2

  f_i is the mean of the map over the cell i of the grid, so that both maps may have
  any size and any channels. An axis with fewer places than the grid on either side
  keeps as many as the smaller. Differs from the authors' code, which takes the
  maximum over cells that cover half the map. A place of zeros is like no other, with
  zero gradient.

  Args:
    student: (B, H, W, C) float.
    teacher: (B, H', W', C') float; a constant.
    size: (h, w), the grid; static.

  Returns:
    (B,) float32 (float64 for float64), no unit, in [0, 4].

  Raises:
    ValueError: at trace time, if the batches differ, a map has not four dimensions,
      or `size` is no pair of positive integers.

  Example:
    >>> alike, apart = jnp.ones((1, 1, 2, 2)), jnp.eye(2).reshape(1, 1, 2, 2)
    >>> print(pairwise(alike, apart).round(3))
    [0.5]

  Source:
    Liu, Chen, Liu, Qin, Luo, Wang 2019, arXiv:1903.04197, equation 2 (structured
    knowledge distillation, the pair-wise term).
  """
  _features.check_maps("pairwise", student, teacher, same_channels=False)
  pair = isinstance(size, tuple) and len(size) == 2
  if not pair or any(int(side) != side or side < 1 for side in size):
    raise ValueError(
      f"pairwise: size must be two positive integers (h, w), got {size!r}"
    )
  shapes = zip(size, student.shape[1:3], teacher.shape[1:3], strict=True)
  grid = tuple(min(sides) for sides in shapes)
  similarities = []
  for side in _features.working_pair(student, teacher):
    nodes = pooling.adaptive_avg_pool(side, size=grid)
    nodes = _math.unit(nodes.reshape(nodes.shape[0], -1, nodes.shape[-1]))
    similarities.append(
      jnp.einsum("bic,bjc->bij", nodes, nodes, precision=_math.HIGHEST)
    )
  return jnp.mean(jnp.square(similarities[0] - similarities[1]), axis=(1, 2))
