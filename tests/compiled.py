"""Losses and methods, each compiled as a whole.

Called as they are, they compile every operation of theirs on its own, which is
what most of a test's time would go to.
"""

import functools
import types

import jax

from kdjax import losses as _losses
from kdjax import methods as _methods


@functools.cache
def _jitted(function, keywords, kinds):
  del kinds  # True is 1 to a cache
  return jax.jit(functools.partial(function, **dict(keywords)))


@functools.cache
def compiled(function):
  """Returns the function, jitted; what is given by name is a constant."""

  @functools.wraps(function)
  def call(*arguments, **keywords):
    kinds = tuple(map(type, keywords.values()))
    try:
      jitted = _jitted(function, tuple(sorted(keywords.items())), kinds)
    except TypeError:  # arrays have no hash
      jitted = jax.jit(functools.partial(function, **keywords))
    return jitted(*arguments)

  return call


losses = types.SimpleNamespace(
  **{
    name: compiled(x) if isinstance(x, types.FunctionType) else x
    for name, x in vars(_losses).items()
  }
)


def jitted_method(method):
  """Returns the method with its functions jitted."""
  return method._replace(init=jax.jit(method.init), apply=jax.jit(method.apply))


def _makes_jitted(maker):
  @functools.wraps(maker)
  def make(*arguments, **keywords):
    return jitted_method(maker(*arguments, **keywords))

  return make


MAKERS = {name: _makes_jitted(maker) for name, maker in _methods.MAKERS.items()}
make_objective = _makes_jitted(_methods.make_objective)
