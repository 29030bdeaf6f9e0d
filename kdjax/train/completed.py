"""What a network begins with where a part of it was trained before."""

from collections.abc import Mapping
from typing import Any

import jax

from kdjax.core.errors import UserError
from kdjax.taps.network import Network


def completed(
  network: Network, variables: Any, key: jax.Array, inputs: Any
) -> Any:
  """Draws the layers that a network's variables lack, such as a new classifier.

  Args:
    network: the network.
    variables: arrays by collection, of all of its layers or of some.
    key: of what is drawn.
    inputs: arrays (B, ...) that it takes, for their shape.

  Returns:
    The variables as they are where they lack none; else with the others drawn, as
    if the network were drawn from the key.
  """
  params = variables.get("params") if isinstance(variables, Mapping) else None
  if not isinstance(params, Mapping):
    return variables
  try:
    shapes = jax.eval_shape(network.init, key, inputs)
  except UserError:  # it draws none
    return variables
  there = shapes.get("params", {}) if isinstance(shapes, Mapping) else {}
  missing = set(there) - set(params)
  # Layers that it does not have are another network's, which is said elsewhere.
  if not missing or set(params) - set(there):
    return variables
  drawn = network.init(key, inputs)
  layers = {name: drawn["params"][name] for name in missing}
  return {**drawn, **variables, "params": {**params, **layers}}
