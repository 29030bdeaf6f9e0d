"""Random streams and layers of an nnx module, as linen has them.

Both act on a copy of the module, made for one forward pass.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.core.scope import LazyRng
from flax.linen.module import run_interceptors

from kdjax.core.errors import UserError
from kdjax.taps.nnx import subclass


def key_streams(module: nnx.Module, rngs: Mapping[str, jax.Array]) -> None:
  """Lets a module draw from keys that it is given, not from its own.

  A layer's key is that of the linen layer at the same path, "layers/0" being
  "layers_0": the same network in linen and nnx draws the same dropout.

  Args:
    module: the copy; its streams are changed.
    rngs: keys by name; a stream of another name draws from the first of them.
  """
  modules = dict(nnx.iter_modules(module))
  for layer in modules.values():
    if isinstance(layer, nnx.Dropout) and layer.rngs is None:
      layer.rngs = nnx.RngStream(0, tag=layer.rng_collection)
  streams = [
    (path, node)
    for path, node in nnx.iter_graph(module)
    if isinstance(node, nnx.RngStream)
  ]
  for path, stream in streams:
    size = next(n for n in range(len(path), -1, -1) if path[:n] in modules)
    owner, rest = modules[path[:size]], path[size:]
    layer = isinstance(owner, nnx.Dropout | nnx.MultiHeadAttention)
    name = getattr(owner, "rng_collection", "dropout") if layer else stream.tag
    rest = tuple(part for part in rest if part not in ("rngs", name))
    names = (*linen_path(path[:size]), *map(str, rest))
    if name not in rngs and not layer:
      names = (*names, name)
    shape = stream.count.get_value().shape
    key = _typed(rngs[name] if name in rngs else next(iter(rngs.values())))
    stream.key.set_raw_value(jax.random.split(key, shape) if shape else key)
    # A number of Python while no transform makes a tracer of it.
    stream.count.set_raw_value(np.zeros(shape, np.uint32))
    object.__setattr__(stream, "__class__", KeyedStream)
    stream.names = names


class KeyedStream(nnx.RngStream):
  """Draws what `make_rng` draws in the linen module at the same path."""

  names = None

  def __call__(self) -> jax.Array:
    if self.names is None:
      # One that was forked off.
      return super().__call__()
    key, count = self.key.get_value(), self.count.get_value()
    self.count.set_value(count + np.uint32(1))
    if not isinstance(count, jax.Array):
      return LazyRng.create(key, *self.names, int(count) + 1).as_jax_rng()
    first = LazyRng.create(key, *self.names, 1).as_jax_rng()
    return jnp.where(count == 0, first, jax.random.fold_in(first, count))


class ForbiddenStream(nnx.RngStream):
  """Says that keys are missing, where one is drawn."""

  def __call__(self) -> jax.Array:
    raise UserError(
      f"the network draws random numbers ({self.tag!r}) while it trains: give it"
      ' keys, rngs={"dropout": key}'
    )


def forbid_streams(module: nnx.Module) -> None:
  """Lets a module that trains draw nothing: it would always draw the same."""
  for _, node in list(nnx.iter_graph(module)):
    if isinstance(node, nnx.RngStream):
      object.__setattr__(node, "__class__", ForbiddenStream)


def linen_path(path: tuple) -> tuple[str, ...]:
  """Writes a path as linen does, where a list's modules have numbered names.

  Example:
    >>> linen_path(("layers", 0, "dense"))
    ('layers_0', 'dense')
  """
  names = []
  for part in path:
    if isinstance(part, int) and names:
      names[-1] = f"{names[-1]}_{part}"
    else:
      names.append(str(part))
  return tuple(names)


def show_layers(module: nnx.Module) -> None:
  """Lets `nn.intercept_methods` see a module's dropout and normalisation.

  An interceptor gets a linen layer that draws the nnx layer's keys and holds its
  parameters and statistics; so one that is written for linen serves both.

  Args:
    module: the copy; its layers are changed.
  """
  # nnx.jit keeps its traces by structure: what was intercepted in another
  # forward pass must not serve this one.
  token = object()
  for _, layer in list(nnx.iter_modules(module)):
    if isinstance(layer, nnx.Dropout | nnx.BatchNorm):
      layer.kdjax_pass = token
      object.__setattr__(layer, "__class__", _intercepted(type(layer)))


@functools.cache
def _intercepted(kind: type) -> type:
  view = _as_dropout if issubclass(kind, nnx.Dropout) else _as_batch_norm

  @functools.wraps(kind.__call__)
  def call(self, *args, **kwargs):
    def __call__(_, *args, **kwargs):
      return kind.__call__(self, *args, **kwargs)

    return run_interceptors(__call__, view(self, kwargs), *args, **kwargs)

  return subclass(kind, {"__call__": call})


def _as_dropout(layer: nnx.Dropout, kwargs: Mapping[str, Any]) -> nn.Dropout:
  def make_rng(name):
    rngs = kwargs.get("rngs")
    rngs = layer.rngs if rngs is None else rngs
    if isinstance(rngs, nnx.Rngs):
      return rngs[name]()
    return rngs() if isinstance(rngs, nnx.RngStream) else rngs

  # Linen takes a flag from the layer or from the call, nnx from both.
  explicit = kwargs.get("deterministic") is not None
  view = nn.Dropout(
    layer.rate,
    broadcast_dims=layer.broadcast_dims,
    deterministic=None if explicit else layer.deterministic,
    rng_collection=layer.rng_collection,
    parent=None,
  )
  object.__setattr__(view, "make_rng", make_rng)
  return view


def _as_batch_norm(layer: nnx.BatchNorm, kwargs: Mapping) -> nn.BatchNorm:
  def get_variable(collection, name):
    return getattr(layer, name)[...]

  def put_variable(collection, name, value):
    getattr(layer, name)[...] = value

  explicit = kwargs.get("use_running_average") is not None
  view = nn.BatchNorm(
    use_running_average=None if explicit else layer.use_running_average,
    axis=layer.axis,
    momentum=layer.momentum,
    epsilon=layer.epsilon,
    dtype=layer.dtype,
    use_bias=layer.bias is not None,
    use_scale=layer.scale is not None,
    parent=None,
  )
  object.__setattr__(view, "get_variable", get_variable)
  object.__setattr__(view, "put_variable", put_variable)
  return view


def _typed(key: jax.Array) -> jax.Array:
  if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    return key
  return jax.random.wrap_key_data(key)
