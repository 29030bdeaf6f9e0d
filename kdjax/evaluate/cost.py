"""What a network costs: parameters, operations, time."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def parameters(params) -> int:
  """Counts the numbers in a tree of parameters."""
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def flops(function: Callable, *arguments) -> int | None:
  """Returns the floating-point operations of one call, as the compiler counts.

  Returns:
    Operations (a multiply-add is two); None where the backend does not tell.
  """
  analysis = jax.jit(function).lower(*arguments).compile().cost_analysis()
  return int(analysis["flops"]) if analysis and "flops" in analysis else None


def peak_memory(function: Callable, *arguments) -> int | None:
  """Returns the bytes that one call takes, as the compiler plans them.

  Returns:
    Arguments, results and what is between them; None where the backend does not
    tell.

  Example:
    >>> peak_memory(lambda x: x + 1, np.ones(4, np.float32))
    32
  """
  program = jax.jit(function).lower(*arguments).compile()
  analysis = program.memory_analysis()
  if analysis is None:
    return None
  buffers = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
  return buffers + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def latency(
  calls: Mapping[Any, Callable[[], object]], *, repeats: int = 50
) -> dict[Any, float]:
  """Times calls in turn, so that a busy moment hits all of them.

  Args:
    calls: by name, a call that starts the work and returns its arrays.
  """
  rounds = time_rounds(calls, repeats=repeats)
  return {name: float(np.median(values)) for name, values in rounds.items()}


def time_rounds(
  calls: Mapping[Any, Callable[[], object]],
  *,
  repeats: int = 50,
  seconds: float = math.inf,
) -> dict[Any, list[float]]:
  """Times calls in turn until there are enough rounds, or time is up.

  Args:
    seconds: what the rounds may take for each call, but for the first, which
      compiles and never counts, and the one after it.

  Returns:
    Milliseconds of each, one a round; at least one. Unless it is the only one,
    the round after the first is to warm up and does not count either.
  """
  times = {name: [] for name in calls}
  budget = seconds * len(calls)
  for i in range(repeats + 2):
    for name, call in calls.items():
      start = time.perf_counter()
      jax.block_until_ready(call())
      if i:
        times[name].append(1e3 * (time.perf_counter() - start))
    if 1e-3 * sum(map(sum, times.values())) >= budget and i:
      break
  return {name: values[1:] or values for name, values in times.items()}
