"""What devices tell each other, read from an optimised program of XLA."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
WIDTHS = {
  "pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2,
  "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8,
}  # fmt: skip
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.+?) ([a-z][a-z0-9\-]*)\(")
_ARRAY = re.compile(r"\b([a-z]+[0-9]*)\[([0-9,]*)\]")
_CALLED = re.compile(
  r"\b(?:body|calls|to_apply|branch_computations)=(\{.*?\}|[^,\s]+)"
)
_ROUNDS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
# Axes of a mesh, and those that a group goes along.
_NAMED = re.compile(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}(?:,|$)")
_LISTED = re.compile(r"replica_groups=\{(.*?)\}(?:,|$)")
_IOTA = re.compile(
  r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?"
)


class Collective(NamedTuple):
  """One that a program makes, as often as it makes it.

  Attributes:
    kind: one of `KINDS`.
    size: bytes of a device's result; of a reduce-scatter those that go in.
    members: places of the devices of the first group; () for all.
    times: how often.
    shapes: of the results, as XLA writes them.
  """

  kind: str
  size: int
  members: tuple[int, ...]
  times: int
  shapes: str


def collectives(text: str) -> list[Collective]:
  """Reads a program, its loops unrolled.

  Args:
    text: `compiled.as_text()`.

  Raises:
    ValueError: for a collective in a loop that does not say how often it runs.
  """
  bodies, entry = _computations(text)
  return list(_of(entry, bodies, 1))


def wire_bytes(kind: str, size: float, members: int) -> float:
  """Bytes that one device sends, on a ring of the group's devices.

  Args:
    size: see `Collective`.
  """
  if kind == "collective-permute":
    return size
  return size * (members - 1) / members * (2 if kind == "all-reduce" else 1)


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
  bodies, lines, entry = {}, [], ""
  for line in text.splitlines():
    if head := _HEAD.match(line):
      lines = bodies[head[2]] = []
      entry = head[2] if head[1] else entry
    else:
      lines.append(line)
  return bodies, entry


def _of(
  name: str, bodies: dict[str, list[str]], times: int | None
) -> Iterator[Collective]:
  for line in bodies[name]:
    found = _LINE.match(line)
    if not found:
      continue
    shapes, operation = found.groups()
    kind = operation.removesuffix("-start")
    if kind in KINDS:
      if times is None:
        raise ValueError(f"in a loop of unknown length: {line.strip()}")
      # What has begun returns its operands as well, in front.
      sizes = _sizes(shapes)
      if kind != operation and kind != "all-reduce":
        sizes = sizes[len(sizes) // 2 :]
      members = _members(line)
      size = sum(sizes) * (len(members) if kind == "reduce-scatter" else 1)
      yield Collective(kind, size, members, times, shapes)
      continue
    rounds = times
    if operation == "while":
      said = _ROUNDS.search(line)
      rounds = times * int(said[1]) if said and times else None
    for inner in _CALLED.findall(line):
      for one in re.findall(r"[\w.\-]+", inner):
        yield from _of(one, bodies, rounds)


def _sizes(shapes: str) -> list[int]:
  return [
    WIDTHS[kind] * math.prod(int(x) for x in axes.split(",") if x)
    for kind, axes in _ARRAY.findall(shapes)
  ]


def _members(line: str) -> tuple[int, ...]:
  """Places of the devices in the first group."""
  if found := _IOTA.search(line):
    groups, size, axes, order = found.groups()
    places = np.arange(int(groups) * int(size)).reshape(_numbers(axes))
    if order:
      places = places.transpose(_numbers(order))
    return tuple(places.reshape(int(groups), int(size))[0].tolist())
  if found := _NAMED.search(line):
    mesh = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
    along = re.findall(r"'(\w+)'", found[2])
    sizes = [int(size) for size in mesh.values()]
    places = np.arange(math.prod(sizes)).reshape(sizes)
    first = tuple(slice(None) if axis in along else 0 for axis in mesh)
    return tuple(places[first].ravel().tolist())
  found = _LISTED.search(line)
  return _numbers(found[1].strip("{}").split("}")[0]) if found else ()


def _numbers(text: str) -> tuple[int, ...]:
  return tuple(int(x) for x in text.split(",") if x)
