"""How a network reads a text token after token, with what it remembers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn


class Decoding(NamedTuple):
  """Two pure functions with which a network reads on where it stopped.

  Attributes:
    start: (variables, batch, slots) -> the cache before the first token, with
      room for so many tokens of so many rows, padding included.
    read: (variables, tokens (B, T), mask (B, T), cache) -> logits (B, V) behind
      each row's last token that counts, and the cache. Those that count stand in
      front; a row of which none counts stays as it is.
    classes: V, how many token ids there are.
    positions: the greatest number of tokens of a row; None for any.
  """

  start: Callable[[Any, int, int], Any]
  read: Callable[..., tuple[Any, Any]]
  classes: int
  positions: int | None = None


def decoding_of(module: nn.Module) -> Decoding | None:
  """Makes the decoding of a linen module that has one.

  Args:
    module: with methods `decode(tokens, mask, cache)`, and `empty_cache(params,
      batch, slots)`, and the attributes `classes` and `positions`.

  Returns:
    None for a module that has no such methods.
  """
  if not (hasattr(module, "decode") and hasattr(module, "empty_cache")):
    return None

  def start(variables, batch, slots):
    return module.empty_cache(variables["params"], batch, slots)

  def read(variables, tokens, mask, cache):
    return module.apply(variables, tokens, mask, cache, method="decode")

  return Decoding(start, read, module.classes, module.positions)
