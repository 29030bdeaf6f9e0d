"""The labels alone, from hidden states and an output head."""

import functools

import jax
import jax.numpy as jnp

from kdjax.losses import checks
from kdjax.losses.chunked import _rows
from kdjax.losses.chunked._call import Form, Totals, call, sizes
from kdjax.losses.chunked._passes import Side, logits_of
from kdjax.losses.chunked._softmax import Vocabulary


def cross_entropy(
  hidden: jax.Array,
  head: jax.Array,
  labels: jax.Array,
  *,
  bias: jax.Array | None = None,
  mask: jax.Array | None = None,
  chunk_size: int | None = None,
  axis_name: str | None = None,
) -> Totals:
  """Cross-entropy with the labels, of tokens of a large vocabulary.

  loss = sum over tokens of - log q[label],  q = softmax(hidden @ head + bias)

  As `kdjax.losses.chunked.kd`, without a teacher.

  Args:
    hidden: (..., d) float, the states that the head reads.
    head: (d, V) float.
    labels: (...) integer class ids; outside 0 to V - 1 = no label.
    bias: (V) float; -inf masks a class out.
    mask: (...) bool, True = counts, or weights >= 0, constants.
    chunk_size: tokens whose logits are held at a time, static.
    axis_name: the mapped axis over which the vocabulary is spread.

  Returns:
    The `Totals`; their divergence is 0. A token without a label adds nothing, and
    counts among the tokens.

  Raises:
    ValueError: at trace time, if shapes do not fit.

  Example:
    >>> states, head = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
    >>> totals = cross_entropy(states, head, jnp.array([0, -1]))
    >>> print(totals.loss.round(4), totals.tokens, totals.labelled)
    0.6931 2 1

  Source:
    The plain formula.
  """
  # A teacher whose logits are 0; nothing is asked of it.
  return call(
    Form("cross_entropy", _rows.nothing, {}, {}),
    hidden,
    head,
    jnp.zeros_like(hidden[..., :1]),
    jnp.zeros((1, head.shape[1]), head.dtype),
    student_bias=bias,
    mask=mask,
    labels=labels,
    chunk_size=chunk_size,
    axis_name=axis_name,
  )


def top_class(
  hidden: jax.Array,
  head: jax.Array,
  *,
  bias: jax.Array | None = None,
  chunk_size: int | None = None,
) -> jax.Array:
  """The most likely class of each token of a large vocabulary.

  result = argmax(hidden @ head + bias)

  Args:
    hidden: (..., d) float, the states that the head reads.
    head: (d, V) float.
    bias: (V) float; -inf masks a class out.
    chunk_size: tokens whose logits are held at a time, static.

  Returns:
    (...) int32, the lowest class where several are alike.

  Raises:
    ValueError: at trace time, for a chunk size that is none.

  Example:
    >>> print(top_class(jnp.array([[1.0], [-1.0]]), jnp.array([[1.0, 0.0]])))
    [0 1]

  Source:
    The plain formula.
  """
  if chunk_size is not None:
    chunk_size = checks.whole("chunked.top_class", "chunk_size", chunk_size)
  types = [x.dtype for x in jax.tree.leaves((hidden, head))]
  kind = functools.reduce(jnp.promote_types, types, jnp.float32)
  flat = hidden.reshape(-1, hidden.shape[-1])
  chunk, _ = sizes(len(flat), Vocabulary(head.shape[1]), kind, chunk_size)

  def one(states):
    logits = logits_of(Side(states[None], head, bias), kind)
    return jnp.argmax(logits[0], axis=-1).astype(jnp.int32)

  classes = jax.lax.map(one, flat, batch_size=min(chunk, max(len(flat), 1)))
  return classes.reshape(hidden.shape[:-1])
