"""What feature and relation losses share: layouts, powers, blocks of rows."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math

# Elements that a loss may hold at once before it goes through its rows in
# blocks: 16 MB of float32, a size that is both cheap and fast everywhere.
BLOCK = 1 << 22


def working_pair(
  student: jax.Array, teacher: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns both sides in one working precision, the teacher constant."""
  student, teacher = _math.at_least_float32(student), _math.constant(teacher)
  dtype = jnp.promote_types(student.dtype, teacher.dtype)
  return student.astype(dtype), teacher.astype(dtype)


def check_maps(
  function: str,
  student: jax.Array,
  teacher: jax.Array,
  *,
  same_channels: bool = True,
) -> None:
  """Raises a ValueError unless both are NHWC maps of the same examples."""
  agree = student.ndim == 4 and teacher.ndim == 4
  agree = agree and student.shape[0] == teacher.shape[0]
  if same_channels:
    agree = agree and student.shape[-1] == teacher.shape[-1]
  if not agree:
    raise ValueError(
      f"{function}: student and teacher must be maps (batch, height, width,"
      f" channels) of the same batch"
      f"{' and the same channels' if same_channels else ''}, got"
      f" {student.shape} and {teacher.shape}"
    )


def check_at_least_rank(
  function: str, rank: int, student: jax.Array, teacher: jax.Array
) -> None:
  """Raises a ValueError unless both sides have `rank` dimensions or more."""
  if student.ndim < rank or teacher.ndim < rank:
    raise ValueError(
      f"{function}: student and teacher must have at least {rank} dimensions,"
      f" got {student.shape} and {teacher.shape}"
    )


def per_example(x: jax.Array) -> jax.Array:
  """Flattens everything behind the batch dimension."""
  return x.reshape(x.shape[0], -1)


def power(x: jax.Array, p: float) -> jax.Array:
  """Returns |x|^p, with zero gradient at 0.

  There that of p < 1 is infinite, and jax gives |x| the gradient 1.
  """
  if p == 2:
    return jnp.square(x)
  nonzero = x != 0
  return jnp.where(nonzero, jnp.abs(jnp.where(nonzero, x, 1.0)) ** p, 0.0)


def relation_rows(
  function: str, x: jax.Array, axis_name: str | None
) -> jax.Array:
  """Returns the global batch as rows, in working precision."""
  x = _math.at_least_float32(x)
  if x.ndim < 1:
    raise ValueError(f"{function}: a batch has a dimension, got {x.shape}")
  x = per_example(_math.gather_batch(x, axis_name))
  if x.shape[0] < 2:
    raise ValueError(
      f"{function}: relations need at least two examples, got {x.shape}; in a"
      " mapped step, axis_name gathers the global batch"
    )
  return x


def relation_pair(
  function: str,
  student: jax.Array,
  teacher: jax.Array,
  axis_name: str | None,
) -> tuple[jax.Array, jax.Array]:
  """Returns both global batches as rows, the teacher's constant.

  Raises a ValueError unless both have the same examples, two or more.
  """
  if student.shape[:1] != teacher.shape[:1]:
    raise ValueError(
      f"{function}: student and teacher must have the same batch, got"
      f" {student.shape} and {teacher.shape}"
    )
  student, teacher = working_pair(student, teacher)
  return (
    relation_rows(function, student, axis_name),
    relation_rows(function, teacher, axis_name),
  )


def map_rows(function, rows, elements: int) -> jax.Array:
  """Applies `function` to each row, in blocks where all rows are too large.

  Args:
    function: takes one row of each entry of `rows`, returns one array.
    rows: a tuple of (trees of) arrays with the same leading dimension.
    elements: how many elements the function holds for one row.

  Returns:
    The stacked results. In blocks, the backward pass recomputes a block
    instead of remembering all of them.
  """
  count = jax.tree.leaves(rows)[0].shape[0]
  block = max(1, BLOCK // max(1, elements))
  if block >= count:
    return jax.vmap(function)(*rows)
  return jax.lax.map(
    lambda row: jax.checkpoint(function)(*row), rows, batch_size=block
  )


def squared_distances(rows: jax.Array) -> jax.Array:
  """Returns the (n, n) squared distances of all pairs of (n, D) rows.

  From differences: ||a||^2 + ||b||^2 - 2 <a, b> has lost all digits, and may
  be negative, where a and b are close.
  """

  def from_one(anchor):
    return jnp.sum(jnp.square(anchor[None, :] - rows), axis=-1)

  return map_rows(from_one, (rows,), elements=rows.size)
