"""The probabilities inside the stock linen attention layers."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator

import flax.linen as nn

from kdjax.taps.grammar import Tap, TapError

_STOCK = {inspect.unwrap(nn.MultiHeadDotProductAttention.__call__)}


def shows_weights(method: Callable) -> Callable:
  """Marks the `__call__` of an attention layer that is no stock one.

  Its module has an `attention_fn` that sows its probabilities, as the stock
  layers' functions do, by `module.sow("intermediates", "attention_weights", ...)`
  where it gets a `module`.

  Returns:
    The method as it is.

  Example:
    >>> @shows_weights
    ... def method(self, x):
    ...   return x
    >>> is_stock(functools.partial(method))
    True
  """
  _STOCK.add(method)
  return method


def is_stock(method: Callable) -> bool:
  """Says whether a method is the stock attention itself, or works as it does.

  Args:
    method: as an interceptor gets it. Subclasses and lifted classes come to the
      stock method too, sooner or later.

  Returns:
    True for the method that computes the probabilities.

  Example:
    >>> is_stock(functools.partial(nn.Dense.__call__))
    False
  """
  return method.func in _STOCK


@contextlib.contextmanager
def caught_weights(
  module: nn.Module, tap: Tap, lenient: bool
) -> Iterator[list]:
  """Catches the attention probabilities that a stock layer computes.

  The layer hands itself to its attention function to sow them among the
  intermediates, where callers would see them; a stand-in keeps them instead.

  Args:
    tap: what was asked for, for the error message.
    lenient: whether to give nothing where the error would be raised.

  Returns:
    A context; within it the list to which (..., heads, Q, K) float is added,
    after the softmax and before dropout.
  """
  function, weights = module.attention_fn, []
  parameters = inspect.signature(function).parameters.values()
  if not any(p.name == "module" or p.kind == p.VAR_KEYWORD for p in parameters):
    if not lenient:
      raise TapError(
        tap, f"shows no weights: {_name(function)} keeps its weights inside"
      )
    yield weights
    return

  @functools.wraps(function)
  def attend(*args, module=None, **kwargs):
    return function(*args, module=_Catcher(module, weights), **kwargs)

  object.__setattr__(module, "attention_fn", attend)
  try:
    yield weights
  finally:
    object.__setattr__(module, "attention_fn", function)
  if not weights and not lenient:
    raise TapError(
      tap, f"shows no weights: {_name(function)} keeps its weights inside"
    )


class _Catcher:
  """Stands in for the layer where the attention function sows."""

  def __init__(self, module: nn.Module | None, weights: list):
    self.module = module
    self.weights = weights

  def sow(self, collection, name, value, **kwargs):
    if name == "attention_weights":
      self.weights.append(value)
    return self.module is not None and self.module.sow(
      collection, name, value, **kwargs
    )


def _name(function: Callable) -> str:
  return getattr(function, "__name__", str(function))
