"""How a network is called with its inputs."""

from collections.abc import Callable, Mapping
from typing import Any


def arguments(inputs: Any) -> tuple[tuple, dict[str, Any]]:
  """Says how a network is called with its inputs.

  Args:
    inputs: an array, or arrays by name.

  Returns:
    Positional and keyword arguments: a single input stands first, whatever its
    name is; several go by their names.

  Example:
    >>> arguments({"image": 1}), arguments({"tokens": 1, "mask": 2})
    (((1,), {}), ((), {'tokens': 1, 'mask': 2}))
  """
  if not isinstance(inputs, Mapping):
    return (inputs,), {}
  if len(inputs) == 1:
    return tuple(inputs.values()), {}
  return (), dict(inputs)


def call_with(function: Callable, first: Any, inputs: Any, **options: Any):
  """Calls a module's `init` or `apply` with inputs, as `arguments` says.

  Example:
    >>> call_with(dict, {}, {"tokens": 1, "mask": 2})
    {'tokens': 1, 'mask': 2}
  """
  args, by_name = arguments(inputs)
  return function(first, *args, **by_name, **options)
