"""The mesh on which a training would fit, where it does not fit as it is."""

import shlex
from collections.abc import Callable, Iterator

from jax.sharding import AbstractMesh, PartitionSpec

from kdjax.core.errors import UserError
from kdjax.runner.pipeline.partition import DATA, read_rules
from kdjax.train.devices.rules import Partition

# So many times the devices that there are, no more.
MOST = 1024
CUTS_ALL = "fsdp"


def fitting_mesh(
  held: Callable[[Partition], int],
  room: int,
  *,
  devices: int,
  batch_size: int,
  rules: str | None = None,
) -> str:
  """Names the first mesh of as many devices, or of more, with enough room.

  Args:
    held: what a device would hold, in bytes.
    room: bytes that a device has.
    batch_size: which the axis `data` has to divide.
    rules: those of the run, which are tried before those that cut all.

  Returns:
    How it is typed, and on how many devices; or that there is none.

  Example:
    >>> fitting_mesh(
    ...   lambda one: 8000 // one.mesh.size, 1000, devices=4, batch_size=6
    ... )
    '--mesh=data=2,model=4 --shard_rules=fsdp has room, on 8 devices'
  """
  count = devices
  while count <= devices * MOST:
    for text, sizes in _meshes(count, batch_size, rules):
      mesh = AbstractMesh(tuple(sizes.values()), tuple(sizes))
      try:
        partition = Partition(mesh, read_rules(text, mesh), PartitionSpec(DATA))
        fits = held(partition) <= room
      except UserError:  # arrays that rules of one's own cannot cut so
        continue
      if fits:
        named = ",".join(f"{name}={size}" for name, size in sizes.items())
        more = "" if count == devices else f", on {count} devices"
        return (
          f"--mesh={named} --shard_rules={shlex.quote(text)} has room{more}"
        )
    count *= 2
  return f"no mesh of up to {devices * MOST} devices has room"


def _meshes(
  count: int, batch_size: int, rules: str | None
) -> Iterator[tuple[str, dict[str, int]]]:
  """Rules and meshes of so many devices, those that tell each other least first."""
  shares = [n for n in range(count, 0, -1) if not (count % n or batch_size % n)]
  meshes = [{DATA: data, "model": count // data} for data in shares]
  if rules not in (None, CUTS_ALL):
    yield from ((rules, sizes) for sizes in meshes)
  # Each device has as much of a network in all of them, and fewest rows in this.
  yield CUTS_ALL, meshes[0]
