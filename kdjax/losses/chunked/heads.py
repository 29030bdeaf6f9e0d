"""A head that lies as a table of classes, as an embedding that is used twice."""

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ByClass:
  """A head (d, V) that is the transpose of a table, without being made.

  Losses of `kdjax.losses.chunked` take it as a head; its gradient is one of the
  table. Neither is copied transposed.

  Attributes:
    table: (V, d) float.

  Example:
    >>> head = ByClass(jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> print(head.shape, product_of(jnp.array([[1.0, 0.0]]), head, jnp.float32))
    (2, 3) [[1. 3. 5.]]
  """

  table: jax.Array

  @property
  def T(self) -> jax.Array:  # noqa: N802  (as arrays have it)
    """The table."""
    return self.table

  @property
  def shape(self) -> tuple[int, int]:
    """The head's."""
    return self.table.shape[::-1]

  @property
  def ndim(self) -> int:
    """The head's."""
    return self.table.ndim

  @property
  def dtype(self) -> jnp.dtype:
    """The head's."""
    return self.table.dtype


def first_of(head: jax.Array | ByClass, classes: int) -> jax.Array | ByClass:
  """Leaves out what a head (d, V) has beyond some classes.

  Example:
    >>> first_of(ByClass(jnp.ones((5, 2))), 3).shape, first_of(jnp.ones((2, 5)), 3).shape
    ((2, 3), (2, 3))
  """
  if isinstance(head, ByClass):
    return ByClass(head.table[:classes])
  return head[:, :classes]


def product_of(
  rows: jax.Array, head: jax.Array | ByClass, dtype: jnp.dtype
) -> jax.Array:
  """Multiplies rows (..., d) with a head (d, V), which may lie as a table."""
  matrix = head.table.T if isinstance(head, ByClass) else head
  return jnp.matmul(rows, matrix, preferred_element_type=dtype)
