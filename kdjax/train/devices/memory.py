"""What a step takes, said before the first one: memory and operations.

Read off the compiled program, which the training then runs: compiling it for
this costs nothing besides.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from kdjax.core.errors import UserError
from kdjax.train.devices.placement import compiled_anew

REMEDIES = {
  "data": "--resident_megabytes=0 streams it",
  "teachers": "--teacher_dtype=bfloat16 halves it",
  "cached answers": "a cache of fewer classes, --cache_top_k of cache",
  "optimiser": "fewer --seeds at a time, or an optimiser that keeps less",
  "parameters": "fewer --seeds at a time, or a smaller network",
  "temporary": (
    "lower --batch_size, or try --accumulate_steps, --remat,"
    " --compute_dtype=bfloat16"
  ),
}


class DoesNotFit(UserError):
  """A program that takes more memory than there is.

  Attributes:
    share: of what it takes besides its arguments, there is so much.
  """

  def __init__(self, message: str, share: float):
    super().__init__(message)
    self.share = share


class Needs(NamedTuple):
  """What one program takes on each device.

  Attributes:
    memory: bytes by what they hold: parameters, optimiser, data, teachers,
      cached answers, temporary (values kept for the gradient, and copies).
    donated: bytes of arguments whose memory the results reuse.
    operations: of matrix products and convolutions, a step.
    within: bytes by what they hold, of those that are temporary.
  """

  memory: dict[str, int]
  donated: int
  operations: float
  within: Mapping[str, int] = MappingProxyType({})


def needs(
  run: Callable,
  arguments: tuple,
  *,
  sharers: int = 1,
  within: Mapping[str, int] = MappingProxyType({}),
) -> Needs:
  """Finds what a mapped training program takes, see `loop.train`.

  Args:
    run: from `devices.parallel`: of (states, plan, steps, images, labels,
      teachers, members, seeds).
    arguments: that it is about to be called with.
    sharers: how many devices divide what the program is written for; 1 where
      it is one device's already.
    within: of what is temporary, what is known of it, in bytes.

  Returns:
    The needs; "temporary" is 0 where the compiler does not tell.
  """
  states, plan, steps, images, labels, teachers, *rest = arguments
  devices = jax.tree.leaves(states)[0].sharding.device_set
  # The training runs what is compiled here.
  with compiled_anew(devices):
    compiled = run.lower(*arguments).compile()
  state_sizes = list(_sizes(states))
  sizes = {
    "parameters": sum(
      size for path, size in state_sizes if "opt_state" not in path
    ),
    "optimiser": sum(size for path, size in state_sizes if "opt_state" in path),
    "data": sum(size for _, size in _sizes((images, labels, rest)))
    + sum(size for _, size in _sizes(_one_of_each(plan))),
    **_of_teachers(teachers),
    "temporary": 0,
  }
  memory, donated = compiled.memory_analysis(), 0
  if memory is not None:
    donated = memory.alias_size_in_bytes
    fresh = memory.output_size_in_bytes - donated
    sizes["temporary"] = memory.temp_size_in_bytes + max(fresh, 0)
  closed = jax.make_jaxpr(run)(*arguments)
  total = operations(closed.jaxpr, rounds=len(steps), sharers=sharers)
  return Needs(sizes, donated, total / len(steps), dict(within))


def check_data(size: int, free: int | None) -> None:
  """Raises a UserError if the images cannot be kept on the devices.

  Args:
    size: bytes of all stored images.
    free: bytes that are free on each device, see `free_memory`.
  """
  if free is not None and size > free:
    raise UserError(
      f"the images take {sized(size)} on each device, of which {sized(free)} are"
      f" free: {REMEDIES['data']} (--nopreflight tries nevertheless)"
    )


def check_room(
  subject: str, size: int, remedy: str, free: int | None = None
) -> None:
  """Raises a UserError for what cannot be in memory, before it is made.

  Args:
    size: bytes that it takes.
    free: bytes that there are; by default those of the machine.

  Example:
    >>> check_room("a", 2_000_000_000, "less", free=1_000_000_000)
    Traceback (most recent call last):
      ...
    kdjax.core.errors.UserError: a takes 2.0 GB of memory, and 1.0 GB are free: less
  """
  free = host_memory() if free is None else free
  if free is not None and size > free:
    raise UserError(
      f"{subject} takes {sized(size)} of memory, and {sized(free)} are free:"
      f" {remedy}"
    )


def host_memory() -> int | None:
  """Returns the bytes that the machine, or its container, has left.

  Returns:
    The bytes; None where nobody tells.

  Example:
    >>> host_memory() > 0
    True
  """
  left = [x for x in (_machine(), _container()) if x is not None]
  return min(left) if left else None


def check(
  program_needs: Needs,
  title: str,
  devices: Sequence[jax.Device],
  free: int | None,
) -> str:
  """Says in one line what a program takes; refuses what cannot fit.

  Args:
    program_needs: of a program whose arguments are on the devices already.
    free: bytes that are free on each, see `free_memory`.
  """
  parts = listed(program_needs.memory)
  if within := listed(program_needs.within):
    parts += f" ({within} of it)"
  per_device = f" on each of {len(devices)} devices" if len(devices) > 1 else ""
  total = program_needs.operations * len(devices) / 1e9
  line = f"{title}: {parts}{per_device}; {total:.3g} GFLOP a step"
  if free is not None and program_needs.memory["temporary"] > free:
    largest_part = max(program_needs.memory, key=program_needs.memory.get)
    raise DoesNotFit(
      f"{line}. That does not fit: {sized(free)} are free. Most is"
      f" {largest_part}: {REMEDIES[largest_part]} (--nopreflight tries nevertheless)",
      free / program_needs.memory["temporary"],
    )
  return line


def free_memory(
  devices: Sequence[jax.Device], *, besides: Any = None
) -> int | None:
  """Returns the bytes that are free on each device.

  Args:
    devices: of one kind; those of other processes do not tell, and are left out.
    besides: arrays whose memory counts as free.

  Returns:
    Of the fullest; of a CPU an equal share of what the machine, or its
    container, has left. None where nobody tells.
  """
  here = jax.process_index()
  devices = [device for device in devices if device.process_index == here]
  stats = [device.memory_stats() or {} for device in devices]
  there = _held(besides, devices)
  free = [
    device_stats["bytes_limit"] - device_stats.get("bytes_in_use", 0) + held
    for device_stats, held in zip(stats, there, strict=True)
    if "bytes_limit" in device_stats
  ]
  if free:
    return min(free)
  if devices[0].platform != "cpu":
    return None
  left = host_memory()
  return None if left is None else (left + sum(there)) // len(devices)


def operations(jaxpr: Any, *, rounds: int = 1, sharers: int = 1) -> float:
  """Counts the operations of matrix products and convolutions, loops unrolled.

  XLA's own count takes a loop for one round, and on a GPU knows nothing of what
  libraries compute.

  Args:
    jaxpr: an open jaxpr. Of a mapped function's, one device's share counts.
    rounds: of a loop that does not say how many it takes.
    sharers: how many devices divide all else evenly.

  Returns:
    Operations of one device; a multiply-add is two, of branches the longest
    counts.
  """
  total = 0.0
  for equation in jaxpr.eqns:
    name, times = equation.primitive.name, equation.params.get("length", 1)
    times = rounds if name == "while" else times
    within = 1 if name in ("scan", "while") else rounds
    shares = 1 if name == "shard_map" else sharers
    inner = [
      operations(one, rounds=within, sharers=shares)
      for one in _inside(equation.params)
    ]
    total += max(inner) if name == "cond" else sum(inner) * times
    total += _of_one(equation) / sharers
  return total


def listed(sizes: Mapping[str, int], *, empty: bool = False) -> str:
  """Writes what takes how many bytes for people.

  Args:
    sizes: the bytes by what they hold.
    empty: whether to name what takes none.

  Example:
    >>> listed({"data": 2_000_000, "teachers": 0})
    'data 2.0 MB'
  """
  return ", ".join(
    f"{name} {sized(size)}" for name, size in sizes.items() if size or empty
  )


def sized(count: int) -> str:
  """Writes a number of bytes for people.

  Args:
    count: the bytes.

  Example:
    >>> sized(31_400_000_000), sized(400)
    ('31.4 GB', '0 kB')
  """
  for unit, power in (("EB", 18), ("PB", 15), ("TB", 12), ("GB", 9), ("MB", 6)):
    if count >= 10**power:
      return f"{count / 10**power:.1f} {unit}"
  return f"{count / 1000:.0f} kB"


def _of_one(equation) -> float:
  name = equation.primitive.name
  if name not in ("dot_general", "conv_general_dilated"):
    return 0.0
  left, right = (x.aval.shape for x in equation.invars[:2])
  (out,) = (x.aval.shape for x in equation.outvars)
  if name == "dot_general":
    (axes, _), _ = equation.params["dimension_numbers"]
    return 2.0 * math.prod(out) * math.prod(left[axis] for axis in axes)
  numbers = equation.params["dimension_numbers"]
  products = math.prod(right) / right[numbers.rhs_spec[0]]
  # What is multiplied with the zeros in between is no work.
  return (
    2.0 * math.prod(out) * products / math.prod(equation.params["lhs_dilation"])
  )


def _inside(params: Mapping) -> Iterator[Any]:
  for value in params.values():
    for one in value if isinstance(value, tuple | list) else (value,):
      one = getattr(one, "jaxpr", one)
      if hasattr(one, "eqns"):
        yield one


def _one_of_each(plan: Any) -> Any:
  """A device's own, of what is on the host yet and has an axis of devices."""
  return jax.tree.map(lambda x: x if isinstance(x, jax.Array) else x[0], plan)


def _of_teachers(teachers: Mapping[str, Any] | None) -> dict[str, int]:
  """Bytes on one device of networks that teach, and of answers that are kept."""
  sizes = {"teachers": 0, "cached answers": 0}
  for one in (teachers or {}).values():
    name = "cached answers" if one.stored else "teachers"
    sizes[name] += sum(size for _, size in _sizes(one))
  return sizes


def _held(tree: Any, devices: Sequence[jax.Device]) -> list[int]:
  """Bytes of arrays that lie on each device."""
  held = dict.fromkeys(devices, 0)
  for leaf in jax.tree.leaves(tree):
    for shard in getattr(leaf, "addressable_shards", ()):
      if shard.device in held:
        held[shard.device] += shard.data.nbytes
  return [*held.values()]


def _sizes(tree: Any) -> Iterator[tuple[str, int]]:
  """Bytes on one device, by path."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    size = leaf.nbytes
    if isinstance(leaf, jax.Array) and size:
      share = math.prod(leaf.sharding.shard_shape(leaf.shape))
      size = size * share // leaf.size
    yield jax.tree_util.keystr(path), size


def _machine() -> int | None:
  try:
    lines = Path("/proc/meminfo").read_text().splitlines()
  except OSError:
    return None
  for line in lines:
    if line.startswith("MemAvailable:"):
      return int(line.split()[1]) << 10
  return None


def _container() -> int | None:
  """What the control groups leave, of both versions and all levels."""
  try:
    rows = Path("/proc/self/cgroup").read_text().splitlines()
  except OSError:
    rows = []
  free = []
  for row in ["0::/", "1:memory:/", *rows]:
    _, kinds, name = row.split(":", 2)
    if not kinds:
      group = Path("/sys/fs/cgroup")
      names = ("memory.max", "memory.current", "inactive_file")
    elif "memory" in kinds.split(","):
      group = Path("/sys/fs/cgroup/memory")
      names = (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
      )
    else:
      continue
    folder = Path(name.lstrip("/"))
    free += [
      _group(group / level, *names) for level in (folder, *folder.parents)
    ]
  return min((x for x in free if x is not None), default=None)


def _group(
  group: Path, limit_file: str, usage_file: str, cache_entry: str
) -> int | None:
  """What one leaves; what files take it gives back at need."""
  try:
    limit = (group / limit_file).read_text().strip()
    occupied = int((group / usage_file).read_text())
    rows = (group / "memory.stat").read_text().splitlines()
  except (OSError, ValueError):
    return None
  file_cache = dict(row.split() for row in rows).get(cache_entry, 0)
  return None if limit == "max" else int(limit) - occupied + int(file_cache)
