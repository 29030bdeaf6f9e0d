"""The rows of `topk_kd`: the teacher's k largest classes, from every shard."""

import jax
import jax.numpy as jnp

from kdjax.losses.chunked._rows import forward_kl
from kdjax.losses.chunked._softmax import (
  Softmax,
  Vocabulary,
  softmax,
  to_logits,
)

# No rest of the vocabulary counts as less: that of `topk_kd`.
_LEAST = 1e-7


def topk_kd(p, q, vocabulary, *, k, tail):
  """KL(p || q) over the k classes, renormalised or with a bucket for the rest."""
  ids, log_p, log_q = _candidates(p, q, vocabulary, k)
  if tail == "renormalize":
    few = Vocabulary(k)
    few_p, few_q = (softmax(x, 1.0, few) for x in (log_p, log_q))
    loss, slopes = forward_kl(few_p, few_q, few)
    slopes = to_logits(slopes, few_q, few)
    return vocabulary.once(loss), _scattered(slopes, ids, vocabulary)
  at_ids = _scattered(jnp.ones_like(log_p), ids, vocabulary) > 0
  rest_p, rest_q = (
    vocabulary.sum(jnp.where(at_ids, 0.0, x.probs)) for x in (p, q)
  )
  loss, slopes = forward_kl(
    _with_bucket(log_p, rest_p), _with_bucket(log_q, rest_q), Vocabulary(k + 1)
  )
  # A bucket at its least does not change with what is in it.
  of_rest = jnp.where(
    rest_q > _LEAST, slopes[:, k:] / jnp.maximum(rest_q, _LEAST), 0.0
  )
  at_top = _scattered(slopes[:, :k], ids, vocabulary)
  return vocabulary.once(loss), jnp.where(at_ids, at_top, of_rest * q.probs)


def _candidates(p, q, vocabulary, k):
  """Returns ids (of all classes) and log-probabilities, (rows, k) each."""
  # Of the logits: log-probabilities may round different ones to a tie.
  values, ids = jax.lax.top_k(p.logits, min(k, vocabulary.size))
  log_p, log_q = (
    jnp.take_along_axis(x.log_probs, ids, axis=-1) for x in (p, q)
  )
  ids = ids + vocabulary.start()
  if vocabulary.axis_name is None:
    return ids, log_p, log_q
  # Shards follow each other as their classes do: ties still take the lower id.
  values, ids, log_p, log_q = (
    vocabulary.gather(x) for x in (values, ids, log_p, log_q)
  )
  _, places = jax.lax.top_k(values, k)
  return tuple(
    jnp.take_along_axis(x, places, axis=-1) for x in (ids, log_p, log_q)
  )


def _scattered(values, ids, vocabulary):
  """Returns (rows, here): the values at their classes, 0 elsewhere."""
  here = ids - vocabulary.start()
  here = jnp.where(here < 0, vocabulary.size, here)
  rows = jnp.arange(values.shape[0])[:, None]
  result = jnp.zeros((values.shape[0], vocabulary.size), values.dtype)
  return result.at[rows, here].set(values, mode="drop")


def _with_bucket(log_probs, rest):
  """Returns (rows, k + 1) of a softmax; only its two first fields matter."""
  rest = jnp.log(jnp.maximum(rest, _LEAST))
  log_probs = jnp.concatenate([log_probs, rest], axis=-1)
  probs = jnp.exp(log_probs)
  return Softmax(log_probs, log_probs, probs, probs > 0, probs)
