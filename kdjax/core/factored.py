"""Answers as a product: hidden states and a linear layer, never logits.

A language model's logits of a batch, (B, T, V), are larger than all else. What a
network computes before the product that makes them, and the product's matrix,
say as much: `kdjax.losses.chunked` takes these. `factored` finds the product in
the program itself, whatever the network is written in.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import partial_eval

from kdjax.core.pooling import PooledHeads
from kdjax.losses.chunked.heads import ByClass, first_of, product_of
from kdjax.losses.chunked.stored import TopClasses, makes_logits, pack_top

# What changes an array's type, or where it lies, and no value.
_SAME = ("convert_element_type", "sharding_constraint")
# Rows whose logits `by_row` makes at once.
_CHUNK = 256


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Factored:
  """Logits that are not made: hidden @ kernel + bias.

  Attributes:
    hidden: (..., D) float, what the linear layer reads.
    kernel: (D, C) float; or a table's transpose, `ByClass`; or what makes logits
      of rows, such as `TopClasses` of stored ones.
    bias: (C,) float, or None.
  """

  hidden: jax.Array
  kernel: Any
  bias: jax.Array | None = None

  @property
  def shape(self) -> tuple[int, ...]:
    """The logits' shape."""
    return (*self.hidden.shape[:-1], self.kernel.shape[-1])

  @property
  def dtype(self) -> Any:
    """The logits' type."""
    return jnp.result_type(*jax.tree.leaves((self.hidden, self.kernel)))

  def logits(self) -> jax.Array:
    """Makes the logits after all, for who can do nothing without."""
    wide = jnp.promote_types(self.dtype, jnp.float32)
    if makes_logits(self.kernel):
      return self.kernel.logits(self.hidden, wide)
    product = product_of(self.hidden, self.kernel, wide)
    if self.bias is None:
      return product
    return product + jnp.reshape(self.bias, (1,) * (product.ndim - 1) + (-1,))


def of_top_classes(
  indices: jax.Array,
  log_probabilities: jax.Array,
  tail: jax.Array,
  classes: int,
) -> Factored:
  """Makes answers of what is stored of the k largest classes.

  Args:
    indices: (..., k) int, different classes.
    log_probabilities: (..., k) float, theirs.
    tail: (...) float, the log of the probability of all others together, of
      which each gets the same share.
    classes: C.

  Example:
    >>> top, half = jnp.array([[1]]), jnp.log(jnp.array([[0.5]]))
    >>> print(jnp.exp(of_top_classes(top, half, half[0], 3).logits()).round(2))
    [[0.25 0.5  0.25]]
  """
  rows = pack_top(indices, log_probabilities, tail)
  return Factored(rows, TopClasses(indices.shape[-1], classes))


def pooled(
  answers: Sequence[Factored],
  *,
  pool: str | None,
  weights: Sequence[float] = (),
  choice: jax.Array | None = None,
) -> Factored:
  """Makes one answer of several networks', whose logits are not made either.

  Args:
    answers: matrices of theirs, with equally many classes.
    pool: see `kdjax.core.pooling.pool_logits`; None for one network's answer.
    weights: one number a network; none for all alike.
    choice: (...) int, whose answer it is where there is no pool.

  Example:
    >>> one = Factored(jnp.ones((4, 2)), jnp.eye(2))
    >>> pooled([one, one], pool="logits").logits().shape
    (4, 2)
  """
  heads = PooledHeads(
    tuple(one.kernel for one in answers),
    tuple(one.bias for one in answers),
    pool,
    tuple(weights),
  )
  states = [one.hidden for one in answers]
  if choice is not None:
    states.append(choice[..., None].astype(states[0].dtype))
  return Factored(jnp.concatenate(states, axis=-1), heads)


def as_logits(answers: Any) -> Any:
  """Makes logits of answers that are a product; others are returned as they are.

  Example:
    >>> print(as_logits(Factored(jnp.ones((1, 2)), jnp.eye(2), jnp.ones(2))))
    [[2. 2.]]
  """
  return answers.logits() if isinstance(answers, Factored) else answers


def is_matrix_product(answers: Any) -> bool:
  """Says whether answers are hidden states and one matrix.

  Example:
    >>> is_matrix_product(Factored(jnp.ones((4, 2)), jnp.eye(2)))
    True
  """
  return isinstance(answers, Factored) and not makes_logits(answers.kernel)


def first_classes(answers: Any, classes: int | None) -> Any:
  """Leaves out what is answered beyond some classes, as if it were -inf.

  Args:
    answers: (..., C) logits, or Factored.
    classes: how many to keep; None for all.

  Example:
    >>> first_classes(Factored(jnp.ones((4, 2)), jnp.ones((2, 9))), 5).shape
    (4, 5)
  """
  if classes is None or answers.shape[-1] == classes:
    return answers
  if not isinstance(answers, Factored):
    return answers[..., :classes]
  if makes_logits(answers.kernel):
    return dataclasses.replace(answers, kernel=answers.kernel.first(classes))
  bias = None if answers.bias is None else answers.bias[:classes]
  return Factored(answers.hidden, first_of(answers.kernel, classes), bias)


def matrix_of(kernel: Any) -> Any:
  """Makes the matrix (D, C) of a kernel that is a table's transpose."""
  return kernel.table.T if isinstance(kernel, ByClass) else kernel


def by_row(
  function: Callable[..., jax.Array], *answers: Any, chunk: int = _CHUNK
) -> Any:
  """Computes something of every row's logits, in chunks of rows.

  Args:
    function: of one row of each of the answers, (C,) float32 -> a value, or a
      tree of them.
    answers: (R, C) each, arrays or Factored: of these, the logits of `chunk`
      rows are made at a time, and anew for a gradient. Or (R,) integers.

  Returns:
    (R, ...), as the function has them.

  Example:
    >>> states = Factored(jnp.ones((4, 2)), jnp.eye(2))
    >>> by_row(lambda logits: logits.sum(), states).tolist()
    [2.0, 2.0, 2.0, 2.0]
  """
  arrays = [x.hidden if isinstance(x, Factored) else x for x in answers]

  def of_row(row):
    logits = (
      Factored(x, whole.kernel, whole.bias).logits()
      if isinstance(whole, Factored)
      else x
      for x, whole in zip(row, answers, strict=True)
    )
    return function(
      *(
        x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for x in logits
      )
    )

  size = max(min(chunk, len(arrays[0])), 1)
  return jax.lax.map(jax.checkpoint(of_row), arrays, batch_size=size)


def over_rows(function: Callable[[Any], Any], tree: Any) -> Any:
  """Applies a function to all arrays that have a row an example or answer.

  Args:
    tree: arrays; of answers that are a product, the matrix has no such rows and
      stays as it is.

  Example:
    >>> answers = Factored(jnp.ones((4, 2)), jnp.ones((2, 9)))
    >>> over_rows(lambda x: x[:3], answers).shape
    (3, 9)
  """

  def one(x):
    if isinstance(x, Factored):
      return dataclasses.replace(x, hidden=function(x.hidden))
    return function(x)

  return jax.tree.map(one, tree, is_leaf=lambda x: isinstance(x, Factored))


def without_matrix(outputs: Any) -> tuple[Any, tuple | None]:
  """Takes the matrix out of a network's outputs, which have a row an example.

  Args:
    outputs: `kdjax.core.method.Outputs`, or None.

  Returns:
    The outputs, whose answers are hidden states, and the matrix with its bias;
    the same outputs and None where the answers are no product.
  """
  answers = getattr(outputs, "answers", None)
  if not isinstance(answers, Factored):
    return outputs, None
  matrix = (answers.kernel, answers.bias)
  return outputs._replace(answers=answers.hidden), matrix


def with_matrix(outputs: Any, matrix: tuple | None) -> Any:
  """Puts back what `without_matrix` has taken out."""
  if matrix is None:
    return outputs
  return outputs._replace(answers=Factored(outputs.answers, *matrix))


def factored(
  function: Callable[..., tuple[jax.Array, Any]], least: int | None
) -> Callable[..., tuple[Any, Any]]:
  """Stops a function short of the product that its answers are.

  Args:
    function: of arrays -> (answers (..., C), anything else).
    least: how many classes are so many that their logits are better not made;
      None for any number.

  Returns:
    A function of the same arrays, whose answers are Factored. Where there are
    fewer classes, or the last operation of the program is no product with a
    matrix (as where logits are capped), they are the function's own.

  Example:
    >>> def network(kernel, bias, x):
    ...   return jnp.tanh(x) @ kernel + bias[None], x
    >>> answers, _ = factored(network, 3)(jnp.eye(3), jnp.ones(3), jnp.zeros((1, 3)))
    >>> print(answers.hidden, answers.bias, answers.logits())
    [[0. 0. 0.]] [1. 1. 1.] [[1. 1. 1.]]
  """

  def run(*args):
    if least is None:
      return function(*args)
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    leaves, form = jax.tree.flatten(shapes)
    product = None
    if getattr(shapes[0], "ndim", 0) > 1 and leaves[0].shape[-1] >= least:
      product = _product(program.jaxpr)
    if product is None:
      # Not by `function`, which would be traced a second time.
      values = core.jaxpr_as_fun(program)(*jax.tree.leaves(args))
      return jax.tree.unflatten(form, values)
    values, rest = _evaluated(program, product, jax.tree.leaves(args))
    _, others = jax.tree.unflatten(form, [None, *rest])
    return Factored(*values), others

  return run


class _Product(NamedTuple):
  """Where the parts of a product are: variables of a program."""

  hidden: Any
  kernel: Any
  transposed: bool
  bias: Any = None


def _product(jaxpr) -> _Product | None:
  """Finds the product with a matrix that makes a program's first result."""
  makers = {out: one for one in jaxpr.eqns for out in one.outvars}

  def made(var):
    """The operation behind changes of type and of place."""
    one = None if isinstance(var, core.Literal) else makers.get(var)
    while one is not None and one.primitive.name in _SAME:
      one = makers.get(one.invars[0])
    return one

  last, bias = made(jaxpr.outvars[0]), None
  if last is not None and last.primitive.name == "add":
    for var, other in (last.invars, last.invars[::-1]):
      maker, wide = made(var), getattr(var.aval, "shape", ())
      if maker is None or maker.primitive.name != "dot_general":
        continue
      if wide[-1:] == (math.prod(other.aval.shape),):
        last, bias = maker, other
        break
  if last is None or last.primitive.name != "dot_general":
    return None
  (left, right), batched = last.params["dimension_numbers"]
  hidden, kernel = last.invars
  of_matrix = kernel.aval.ndim == 2 and hidden.aval.ndim > 1
  if any(batched) or not of_matrix or left != (hidden.aval.ndim - 1,):
    return None
  transposed, table = right == (1,), makers.get(kernel)
  if table is not None and table.primitive.name == "transpose":
    kernel, transposed = table.invars[0], not transposed
  return _Product(hidden, kernel, transposed, bias)


def _evaluated(program, product: _Product, args: list) -> tuple[list, list]:
  """Evaluates what a product is of, and a program's other results."""
  jaxpr, factors = program.jaxpr, [product.hidden, product.kernel]
  factors += [] if product.bias is None else [product.bias]
  outvars = [*factors, *jaxpr.outvars[1:]]
  jaxpr = jaxpr.replace(
    outvars=outvars, debug_info=jaxpr.debug_info.with_unknown_names()
  )
  jaxpr, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(outvars))
  args = [x for x, use in zip(args, used, strict=True) if use]
  values = core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, program.consts))(*args)
  hidden, kernel, *bias = values[: len(factors)]
  kernel = ByClass(kernel) if product.transposed else kernel
  return [hidden, kernel, *(x.reshape(-1) for x in bias)], values[
    len(factors) :
  ]
