"""Values of a config.json, and the lines that refuse what they cannot be."""

from collections.abc import Mapping
from typing import Any

from kdjax.core.errors import UserError, unknown_name

Config = Mapping[str, Any]

# transformers' names of activations, and ours.
ACTIVATIONS = {
  "silu": "silu",
  "swish": "silu",
  "gelu": "gelu_exact",
  "gelu_new": "gelu",
  "gelu_fast": "gelu",
  "gelu_pytorch_tanh": "gelu",
  "relu": "relu",
  "relu2": "relu_squared",
  "tanh": "tanh",
}


def whole(values: Config, name: str, *, least: int = 1) -> int:
  """Returns a whole number of a config, and refuses anything else.

  Example:
    >>> whole({"hidden_size": 8}, "hidden_size")
    8
  """
  value = values.get(name)
  plain = isinstance(value, int) and not isinstance(value, bool)
  if not plain or not least <= value < 2**31:
    raise UserError(f"{name} must be a whole number >= {least}, got {value!r}")
  return value


def number(values: Config, name: str) -> float:
  """Returns a positive number of a config, and refuses anything else.

  Example:
    >>> number({"rope_theta": 10000}, "rope_theta")
    10000.0
  """
  value = values.get(name)
  plain = isinstance(value, int | float) and not isinstance(value, bool)
  if not plain or not 0 < value < float("inf"):
    raise UserError(f"{name} must be a number > 0, got {value!r}")
  return float(value)


def flag(values: Config, name: str) -> bool:
  """Returns whether a config says so, false where it says nothing.

  Example:
    >>> flag({"attention_bias": True}, "attention_bias")
    True
  """
  value = values.get(name, False)
  if not isinstance(value, bool):
    raise UserError(f"{name} must be true or false, got {value!r}")
  return value


def activation(values: Config, name: str = "hidden_act") -> str:
  """Returns our name of the activation that a config names.

  Example:
    >>> activation({"hidden_act": "gelu_new"})
    'gelu'
  """
  theirs = str(values[name])
  if theirs not in ACTIVATIONS:
    raise unknown_name(name, theirs, ACTIVATIONS)
  return ACTIVATIONS[theirs]


def mapping(values: Config, name: str) -> Config:
  """Returns settings inside of a config, {} for none, and refuses anything else.

  Example:
    >>> mapping({"rope_scaling": None}, "rope_scaling")
    {}
  """
  value = values.get(name) or {}
  if not isinstance(value, Mapping):
    raise UserError(f"{name} must be settings by name, got {value!r}")
  return value
