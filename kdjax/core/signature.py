"""What goes into a network and what comes out of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Port(NamedTuple):
  """An array that goes into a network, or comes out of it.

  Attributes:
    name: in files and on pages.
    shape: of one example.
    dtype: of its numbers, such as "float32".
    what: its numbers are: "Classes" for one logit a class; "" where nobody says.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  what: str


class Signature(NamedTuple):
  """What a network takes and gives."""

  inputs: tuple[Port, ...]
  outputs: tuple[Port, ...]


def signature_of(
  inputs: Any,
  width: int,
  *,
  name: str = "inputs",
  output: str = "outputs",
  what: str = "Numbers",
) -> Signature:
  """Says what goes into a network and what comes out of it.

  Args:
    inputs: one example as the network takes it, arrays or their shapes: one, or
      several by name.
    width: how many numbers it answers with.
    name: of an input that has none.
    output: the answer's name.
    what: each of its numbers is.

  Returns:
    The signature.

  Example:
    >>> signature_of(jax.ShapeDtypeStruct((4, 4, 1), "float32"), 2).inputs[0].shape
    (4, 4, 1)
  """
  by_name = inputs if isinstance(inputs, Mapping) else {name: inputs}
  return Signature(
    tuple(
      Port(key, tuple(one.shape), np.dtype(one.dtype).name, "")
      for key, one in by_name.items()
    ),
    (Port(output, (width,), "float32", what),),
  )
