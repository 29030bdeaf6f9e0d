"""A pass that the devices of a mesh divide, where `jax.jit` is for one of them.

Chunks may be of any tokens, which XLA cannot know: it takes them in their order, all
of a chunk from a few devices' examples, and brings the heads together anew for each.
Here every device goes through chunks of its own tokens, and of its own classes of
them, and the heads' gradients are summed once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from kdjax.losses.chunked.heads import ByClass
from kdjax.losses.chunked.stored import makes_logits

# The axis over which batches are cut, if a mesh has one of this name, else its first.
DATA = "data"


class Division(NamedTuple):
  """Who makes which logits.

  Attributes:
    rows: the mesh's axes over which tokens are spread.
    classes: the axis over which the vocabulary is, or None.
  """

  rows: tuple[str, ...]
  classes: str | None


def division(student: Any, teacher: Any) -> Division | None:
  """Divides a pass among the devices of the mesh in use.

  Args:
    student: its `Side`.
    teacher: likewise.

  Returns:
    Tokens over the batch's axis and classes over the other one, or tokens over all
    axes where classes cannot be divided evenly; None where there is no mesh.
  """
  mesh = jax.sharding.get_abstract_mesh()
  kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
  axes = [axis for axis, size in mesh.shape.items() if size > 1]
  # Within `jax.shard_map` devices go their own ways already.
  if not axes or any(kinds[axis] != AxisType.Auto for axis in axes):
    return None
  first = DATA if DATA in kinds else mesh.axis_names[0]
  axes.sort(key=lambda axis: axis != first)
  others, classes = [axis for axis in axes if axis != first], None
  if len(others) == 1 and not any(
    makes_logits(side.head) or side.head.shape[1] % mesh.shape[others[0]]
    for side in (student, teacher)
  ):
    classes = axes.pop()
  rows, left = [], (student.hidden.shape[:-1] or (1,))[0]
  for axis in axes:
    if left % mesh.shape[axis] == 0:
      rows.append(axis)
      left //= mesh.shape[axis]
  return Division(tuple(rows), classes) if rows or classes else None


def divided(
  call: Callable[..., Any], form: Any, over: Division, **arguments: Any
) -> Any:
  """Runs a pass on every device's part.

  Args:
    call: the pass, see `_call`.
    form: its first argument.
    **arguments: its others, without the axis of classes.

  Returns:
    Its sums over all tokens.
  """
  leading = arguments["student_hidden"].shape[:-1]

  def spec(name, x):
    if name.endswith("head") and not makes_logits(x):
      table = isinstance(x, ByClass)
      return PartitionSpec(*[None] * (not table), over.classes)
    if name.endswith("bias"):
      return PartitionSpec(over.classes)
    by_row = name != "numbers" and jnp.shape(x)[:1] == leading[:1] != ()
    return PartitionSpec(*[over.rows] * by_row)

  def part(arrays):
    numbers = arrays.pop("numbers")
    sums = call(
      form._replace(numbers=numbers),
      **(arguments | arrays),
      axis_name=over.classes,
    )
    return jax.lax.psum(sums, over.rows) if over.rows else sums

  arrays = {name: x for name, x in arguments.items() if hasattr(x, "shape")} | {
    "numbers": form.numbers
  }
  specs = {name: spec(name, x) for name, x in arrays.items()}
  spread = jax.shard_map(part, in_specs=(specs,), out_specs=PartitionSpec())
  return spread(arrays)
