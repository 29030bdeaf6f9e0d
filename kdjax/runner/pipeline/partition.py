"""`--mesh` and `--shard_rules`: how the arrays of a run are cut over its devices."""

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from kdjax.core.errors import UserError, quantity
from kdjax.train.devices.rules import (
  Partition,
  Rule,
  layout,
  make_rules,
  parts_of,
)
from kdjax.train.devices.rules import check_matches as check_strict
from kdjax.train.population.arrangement import layout_of_state, train_states

# The axis over which batches are cut.
DATA = "data"
# Of our transformers (Megatron's way, arXiv:1909.08053): what enters attention and
# dense layers is cut by columns, heads stay whole; what leaves them by rows.
_TRANSFORMER = {
  r"attention/(query|key|value)/kernel$": (None, "model", None),
  r"attention/(query|key|value)/bias$": ("model", None),
  r"attention/out/kernel$": ("model", None, None),
  r"mlp/(dense_0|gate)/kernel$": (None, "model"),
  r"mlp/(dense_0|gate)/bias$": ("model",),
  r"mlp/dense_1/kernel$": ("model", None),
  r"stem/tokens/embedding$": ("model", None),
  r"^head/kernel$": (None, "model"),
  r"^head/bias$": ("model",),
}
SETS = {
  "fsdp": (Rule(re.compile(""), None, strict=False),),
  "transformer": tuple(
    Rule(re.compile(pattern), PartitionSpec(*axes), strict=False)
    for pattern, axes in _TRANSFORMER.items()
  ),
}


def read_partition(
  mesh: str | None, rules: str | None, devices: Sequence[jax.Device]
) -> Partition | None:
  """Reads how arrays are cut.

  Args:
    mesh: such as "data=2,model=4"; one size may be -1. None for no mesh.
    rules: the name of a set, "PATTERN=axis,axis;..." or None for no rule.
    devices: as many as the mesh has.

  Returns:
    The partition; None without a mesh.

  Raises:
    UserError: names the flag, and what is possible.

  Example:
    >>> made = read_partition("data=-1", "kernel=-,data", jax.devices()[:2])
    >>> dict(made.mesh.shape)
    {'data': 2}
  """
  if mesh is None:
    return None
  device_mesh = _read_mesh(mesh, devices)
  batch = PartitionSpec(DATA) if DATA in device_mesh.shape else PartitionSpec()
  return Partition(device_mesh, read_rules(rules, device_mesh), batch)


def read_rules(text: str | None, mesh: Mesh | AbstractMesh) -> tuple[Rule, ...]:
  """Reads `--shard_rules`, for a mesh whose devices need not be there."""
  if text is None:
    return ()
  if text in SETS:
    for axis in _axes(SETS[text]) - set(mesh.shape):
      raise UserError(
        f"--shard_rules={text}: it cuts over the axis {axis!r}, and --mesh has"
        f" {', '.join(mesh.shape)}"
      )
    return SETS[text]
  pairs = [rule.rpartition("=") for rule in text.split(";") if rule.strip()]
  if not (pairs and all(pattern.strip() for pattern, _, _ in pairs)):
    near = difflib.get_close_matches(text, SETS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(
      f"--shard_rules={text}: expected {', '.join(SETS)} or"
      f" PATTERN=axis,axis;... with '-' for what is not cut{hint}"
    )
  try:
    return make_rules(
      [(pattern.strip(), _spec(axes)) for pattern, _, axes in pairs], mesh
    )
  except UserError as error:
    raise UserError(f"--shard_rules: {error}") from error


def batch_parts(partition: Partition | None, devices: Sequence[Any]) -> int:
  """Into how many parts a batch is cut."""
  if partition is None:
    return len(devices)
  return partition.mesh.shape.get(DATA, 1)


def placed(
  networks: Any, partition: Partition | None, *, stacked: int = 1
) -> Any:
  """Puts trained networks where they are asked: on devices of this process.

  Args:
    networks: variables with a leading axis (M,).
    partition: how they are cut; None to put them on one device, whole.
    stacked: leading axes of networks; 0 for the variables of one.
  """
  if partition is None:
    return jax.tree.map(jnp.asarray, networks)
  here = partition._replace(mesh=partition.mesh.local_mesh)
  return jax.device_put(networks, layout(networks, here, stacked=stacked))


def on_a_device(state: Any, partition: Partition) -> Any:
  """What a device holds of a training state or a teacher, as shapes."""
  if not train_states(state):
    shardings = layout(state, partition)
  else:
    shardings = layout_of_state(state, partition)
  return jax.tree.map(
    lambda x, one: jax.ShapeDtypeStruct(one.shard_shape(x.shape), x.dtype),
    state,
    shardings,
  )


def activations_on_a_device(state: Any, partition: Partition) -> float:
  """The share of a batch's activations that one device has, by layers' widths.

  What enters and leaves a layer is as wide as its kernel, and cut where that is; but
  what is cut over the batch's axis too, as `fsdp` does, is put together for each layer.

  Args:
    state: a training state, or its shapes.
  """
  shardings, held, whole = layout_of_state(state, partition), 0.0, 0.0
  for one, cut in zip(*map(train_states, (state, shardings)), strict=True):
    stacked = one.step.ndim
    for leaf, how in zip(
      *map(jax.tree.leaves, (one.params, cut.params)), strict=True
    ):
      shape = leaf.shape[stacked:]
      parts = [
        1 if DATA in np.ravel(name) else parts_of(name, partition.mesh)
        for name in how.spec[stacked:]
      ]
      for width, into in _widths(shape, parts):
        held, whole = held + width / into, whole + width
  rows = partition.mesh.shape.get(DATA, 1)
  return (held / whole if whole else 1.0) / rows


def _widths(
  shape: Sequence[int], parts: Sequence[int]
) -> Iterator[tuple[int, int]]:
  """How wide what enters and leaves a layer is, and into how many parts that is cut.

  Args:
    shape: of its kernel: inputs first, outputs last, either perhaps on several axes.
    parts: into how many its first axes are cut.

  Example:
    >>> list(_widths((4, 2, 3), (1, 2))), list(_widths((2, 3, 4), (2,)))
    ([(4, 1), (6, 2)], [(6, 2), (4, 1)])
  """
  if len(shape) < 2:
    yield math.prod(shape), 1
    return
  axis = next((i for i, count in enumerate(parts) if count > 1), len(shape) - 1)
  into = math.prod(parts)
  split = axis if axis else len(shape) - 1
  sides = math.prod(shape[:split]), math.prod(shape[split:])
  cuts = (1, into) if axis else (into, 1)
  yield from zip(sides, cuts, strict=True)


def check_rules(
  partition: Partition,
  text: str | None,
  states: Sequence[Any],
  networks: Sequence[Any],
) -> None:
  """Refuses rules that do not fit the networks of a run.

  Args:
    text: the rules as they were typed.
    states: of those that are trained, or their shapes.
    networks: variables of those that only teach, or their shapes.
  """
  trained = [
    {"params": one.params} for state in states for one in train_states(state)
  ]
  check_strict(partition, (trained, networks))
  cut = [layout_of_state(state, partition) for state in states]
  cut += [layout(one, partition) for one in networks]
  if text in SETS and all(x.is_fully_replicated for x in jax.tree.leaves(cut)):
    sizes = ", ".join(f"{k}={v}" for k, v in partition.mesh.shape.items())
    raise UserError(
      f"--shard_rules={text}: it cuts nothing of these networks over"
      f" {sizes}; fsdp cuts any network, PATTERN=axis,axis;... says what to cut"
    )


def _read_mesh(text: str, devices: Sequence[jax.Device]) -> Mesh:
  pairs = [part.split("=") for part in text.split(",")]
  if not all(
    len(pair) == 2
    and pair[0].strip().isidentifier()
    and re.fullmatch(r"-1|[1-9]\d*", pair[1].strip())
    for pair in pairs
  ):
    raise UserError(
      f"--mesh={text}: expected axes and their sizes, such as data=2,model=4"
    )
  names = [name.strip() for name, _ in pairs]
  sizes = [int(size) for _, size in pairs]
  if len(set(names)) < len(names) or sizes.count(-1) > 1:
    raise UserError(
      f"--mesh={text}: every axis has a name of its own, and at most one the"
      " size -1"
    )
  if -1 in sizes:
    others = -math.prod(sizes)
    sizes[sizes.index(-1)] = max(1, len(devices) // others)
  if math.prod(sizes) != len(devices):
    raise UserError(
      f"--mesh={text}: that is a mesh of {quantity(math.prod(sizes), 'device')},"
      f" and there are {len(devices)}; give sizes whose product is"
      f" {len(devices)}, one of them may be -1"
    )
  return Mesh(np.asarray(devices).reshape(sizes), tuple(names))


def _spec(text: str) -> PartitionSpec:
  """Axes in their order: '-' for none, 'data+model' for two of them."""
  axes = [tuple(axis.strip().split("+")) for axis in text.split(",")]
  return PartitionSpec(
    *(None if axis == ("-",) else axis[0] if len(axis) == 1 else axis
      for axis in axes)
  )  # fmt: skip


def _axes(rules: Sequence[Rule]) -> set[str]:
  return {axis for rule in rules for axis in rule.spec or () if axis}
