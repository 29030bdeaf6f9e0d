"""One pass over the tokens, in chunks: logits, losses and gradients together.

The logits of a chunk of tokens are made, turned into the loss's gradient where
they lie, and multiplied into the gradients of hidden states and head; nothing of
them is kept for a backward pass. On processors the rows of a chunk are worked
through in tiles that stay in the cache.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses import _math
from kdjax.losses.chunked._softmax import Vocabulary, softmax, to_logits
from kdjax.losses.chunked.heads import ByClass, product_of
from kdjax.losses.chunked.stored import makes_logits

# Parts in which a chunk is added to the head's gradient: the product of one part
# lies beside it, not that of the whole.
_PARTS = 8


class Side(NamedTuple):
  """Hidden states (N, d), head (d, here) and perhaps its bias (here)."""

  hidden: jax.Array
  head: jax.Array
  bias: jax.Array | None


class Tokens(NamedTuple):
  """What is known of N tokens: T (N, 1), which count, perhaps labels (N, 1) and
  weights (N, 1).
  """

  temperature: jax.Array
  mask: jax.Array
  labels: jax.Array | None
  weights: jax.Array | None


class Sums(NamedTuple):
  """Over the tokens that count; `loss` is the weighted sum of the other two."""

  loss: jax.Array
  divergence: jax.Array
  cross_entropy: jax.Array


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is decided before tracing.

  Attributes:
    rows: one of the functions of `_rows` and `_top`.
    keywords: its static keywords, as pairs.
    t_squared: whether each token's divergence is multiplied by its T^2.
    same: whether the labels' softmax is that of the divergence: T is 1, and
      the teacher masks nothing that the student does not.
    vocabulary: the classes of this device.
    chunk: tokens a chunk; divides N.
    tile: rows a tile; divides `chunk`.
    dtype: of logits, losses and sums.
    vary: the mapped axes over which the inputs vary, where JAX tracks that.
    tracked: whether it does for the vocabulary's axis.
  """

  rows: Callable
  keywords: tuple[tuple[str, Any], ...]
  t_squared: bool
  same: bool
  vocabulary: Vocabulary
  chunk: int
  tile: int
  dtype: Any
  vary: tuple[str, ...] = ()
  tracked: bool = False


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def sums(
  plan: Plan, student: Side, teacher: Side, tokens: Tokens, numbers: dict
) -> Sums:
  """Returns the sums, of which only `loss` may be differentiated."""
  return _first_order(plan, False, student, teacher, tokens, numbers)[0]


def _forward(plan, student, teacher, tokens, numbers):
  totals, grads = _first_order(plan, True, student, teacher, tokens, numbers)
  # Empty arrays: the backward pass needs only the types.
  types = jax.tree.map(lambda x: x.reshape(-1)[:0], student)
  return totals, (grads, types)


def _backward(plan, residuals, of_sums):
  grads, types = residuals
  gradients = jax.tree.map(
    lambda grad, x: (of_sums.loss * grad).astype(x.dtype), grads, types
  )
  return gradients, None, None, None


sums.defvjp(_forward, _backward)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _first_order(plan, with_grads, student, teacher, tokens, numbers):
  return _over_chunks(plan, with_grads, student, teacher, tokens, numbers)


@_first_order.defjvp
def _no_second_order(plan, with_grads, primals, tangents):
  raise NotImplementedError(
    "kdjax.losses.chunked: there are first derivatives only, as they are made in"
    " the forward pass; for second ones take kdjax.losses on the logits"
  )


def _over_chunks(plan, with_grads, student, teacher, tokens, numbers):
  rows = (student.hidden, teacher.hidden, tokens)
  count = student.hidden.shape[0] // plan.chunk
  heads = (student._replace(hidden=None), teacher._replace(hidden=None))

  def step(grads, chunk):
    return _chunk(plan, with_grads, heads, grads, chunk, numbers)

  if count == 1:
    grads, (totals, hidden) = step(None, rows)
  else:
    split = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), rows)
    zeros = heads[0] if with_grads else None
    zeros = jax.tree.map(lambda x: _zeros(plan, x.shape), zeros)
    grads, (totals, hidden) = jax.lax.scan(step, zeros, split)
    totals = jax.tree.map(lambda x: jnp.sum(x, axis=0), totals)
  if not with_grads:
    return totals, None
  hidden = hidden.reshape(student.hidden.shape)
  if plan.vocabulary.axis_name is not None and not plan.tracked:
    hidden = plan.vocabulary.total(hidden)
  return totals, grads._replace(hidden=hidden)


def _zeros(plan, shape):
  zeros = jnp.zeros(shape, plan.dtype)
  return jax.lax.pcast(zeros, plan.vary, to="varying") if plan.vary else zeros


def _chunk(plan, with_grads, heads, grads, chunk, numbers):
  """Returns the heads' gradients so far, and (sums, gradient of the hidden)."""
  student, teacher = (
    side._replace(hidden=jnp.where(chunk[2].mask, hidden, 0))
    for side, hidden in zip(heads, chunk[:2], strict=True)
  )
  results, grad = _over_tiles(
    plan,
    with_grads,
    logits_of(student, plan.dtype),
    logits_of(teacher, plan.dtype),
    chunk[2],
    numbers,
  )
  if not with_grads:
    return None, (results, None)
  hidden = jnp.matmul(
    _factor(grad, student.head),
    student.head.T,
    preferred_element_type=plan.dtype,
  )
  return _added(plan, grads, student, grad), (results, hidden)


def logits_of(side: Side, dtype) -> jax.Array:
  """Makes the logits (N, here) of a side."""
  if makes_logits(side.head):
    return side.head.logits(side.hidden, dtype)
  logits = product_of(side.hidden, side.head, dtype)
  return logits if side.bias is None else logits + side.bias.astype(dtype)[None]


def _factor(grad, other):
  """Returns the logits' gradient as it is multiplied with `other`.

  Rounding it costs a digit of the head's gradient, and half precision is no
  faster on a processor; elsewhere it is what the matrix units are for.
  """
  return grad if jax.default_backend() == "cpu" else grad.astype(other.dtype)


def _added(plan, grads, student, grad):
  """Returns the gradients of head and bias, with this chunk's."""
  bias = None if student.bias is None else jnp.sum(grad, axis=0)
  grad = _factor(grad, student.hidden)

  factors = (student.hidden, grad)
  left, right = factors[::-1] if isinstance(student.head, ByClass) else factors

  def product(part):
    return jnp.matmul(left[:, part].T, right, preferred_element_type=plan.dtype)

  def added(head):
    step = -(-len(head) // _PARTS)
    for start in range(0, len(head), step):
      part = slice(start, min(start + step, len(head)))
      head = head.at[part].add(product(part))
    return head

  if grads is None:
    whole = jax.tree.map(lambda _: product(slice(None)), student.head)
    return Side(None, whole, bias)
  head = jax.tree.map(added, grads.head)
  return Side(None, head, None if bias is None else grads.bias + bias)


def _over_tiles(plan, with_grads, student, teacher, tokens, numbers):
  """Returns the sums of a chunk's logits, and the gradient in the student's."""
  work = functools.partial(_tile, plan, with_grads)
  if plan.tile == plan.chunk:
    results, grad = work(student, teacher, tokens, numbers)
  else:

    def step(_, tile):
      return None, work(*tile, numbers)

    tiles = (student, teacher, tokens)
    tiles = jax.tree.map(lambda x: x.reshape(-1, plan.tile, x.shape[1]), tiles)
    _, (results, grad) = jax.lax.scan(step, None, tiles)
    grad = grad.reshape(student.shape) if with_grads else None
  return jax.tree.map(jnp.sum, results), grad


def _tile(plan, with_grads, student, teacher, tokens, numbers):
  """Returns the losses of some rows, (rows, 1) each, and their gradient."""
  vocabulary, temperature = plan.vocabulary, tokens.temperature
  q, p = (
    softmax(x, temperature, vocabulary) for x in _math.shared(student, teacher)
  )
  numbers = dict(numbers)
  weight, own_weight = (
    numbers.pop(f"{what}_weight", None) for what in ("label", "divergence")
  )
  part, slopes = plan.rows(p, q, vocabulary, **dict(plan.keywords), **numbers)
  share = 1.0 if tokens.weights is None else tokens.weights
  scale = share * jnp.square(temperature) if plan.t_squared else share
  divergence = jnp.where(tokens.mask, scale * vocabulary.total(part), 0.0)
  grad = None
  if with_grads:
    grad = scale / temperature * to_logits(slopes, q, vocabulary)
    grad = jnp.where(tokens.mask, grad, 0.0)
  loss = divergence
  if own_weight is not None:
    loss = own_weight * divergence
    grad = own_weight * grad if with_grads else None
  if tokens.labels is None:
    return Sums(loss, divergence, jnp.zeros_like(divergence)), grad
  q = q if plan.same else softmax(student, 1.0, vocabulary)
  hit = vocabulary.ids() == tokens.labels
  at_label = vocabulary.sum(jnp.where(hit, q.log_probs, 0.0))
  entropy = jnp.where(tokens.mask, -share * at_label, 0.0)
  if with_grads:
    slopes = -hit.astype(plan.dtype)
    has_label = tokens.mask & (tokens.labels >= 0)
    of_labels = weight * share * to_logits(slopes, q, vocabulary)
    grad += jnp.where(has_label, of_labels, 0.0)
  return Sums(loss + weight * entropy, divergence, entropy), grad
