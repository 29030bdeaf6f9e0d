"""How well a network tells texts: nats a token, bits a byte, distance from a teacher.

Everything is told of the tokens that count alone, as sums and counts; no array of
all tokens' logits is made where the task knows how to do without.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.core.factored import by_row
from kdjax.core.task import Metric, Rows, Task, as_batch, has_weight
from kdjax.evaluate.over_batches import evaluate_each


def measure_text(
  network: Any,
  variables: Any,
  sequences: Mapping[str, Any],
  *,
  task: Task,
  text_bytes: int,
  teacher: Any = None,
  top: Sequence[int] = (),
  batch_size: int = 8,
  advance: Callable[[], Any] | None = None,
) -> dict[str, float | int]:
  """Measures a language model on texts.

  Args:
    network: from `kdjax.pretrained.load` or the like.
    variables: its variables.
    sequences: (N, T) arrays by name, as `kdjax.data.text.pack` makes them.
    task: `kdjax.tasks.language_model(...)`.
    text_bytes: of UTF-8 that the tokens that count stand for, `Examples.bytes`.
    teacher: from `live_teacher` and the like, to compare with; or None.
    top: for each k of these, how much probability the k likeliest tokens have.
    batch_size: sequences at once; no score depends on it.
    advance: is called when a batch has been measured.

  Returns:
    "nats_per_token", "bits_per_byte", "perplexity" and "accuracy", whose means
    are over the tokens that count; "tokens", how many those are, and "bytes"; by
    k "top_<k>_mass" in [0, 1]. With a teacher "teacher_kl", KL(teacher ||
    network) in nats a token, and "agreement", the share of tokens of which both
    find the same one likeliest.

  Raises:
    UserError: as `kdjax.evaluate`; and if there are no bytes.
  """
  (scores,) = measure_texts(
    network,
    lambda: [variables],
    sequences,
    task=task,
    text_bytes=text_bytes,
    teacher=teacher,
    top=top,
    batch_size=batch_size,
    advance=advance,
  )
  return scores


def measure_texts(
  network: Any,
  members: Callable[[], Iterable[Any]],
  sequences: Mapping[str, Any],
  *,
  task: Task,
  text_bytes: int,
  teacher: Any = None,
  top: Sequence[int] = (),
  batch_size: int = 8,
  advance: Callable[[], Any] | None = None,
) -> list[dict[str, float | int]]:
  """Measures several variables of a language model; the teacher answers once for all.

  Args:
    members: () -> variables, each as `measure_text` takes them; called for every
      batch, so that one at a time needs to be there.

  Returns:
    What `measure_text` returns, for each. See there for the other arguments.
  """
  if not text_bytes > 0:
    raise UserError(
      f"text_bytes= takes how many bytes the tokens that count stand for, >= 1;"
      f" got {text_bytes!r}"
    )
  scored_task = with_top_mass(task, tuple(top)) if top else task
  scores_of_each = evaluate_each(
    network,
    members,
    sequences,
    task=scored_task,
    teacher=teacher,
    batch_size=batch_size,
    advance=advance,
  )
  counting = has_weight(task.weights(as_batch(task, sequences)).rows)
  tokens = int(counting.sum())

  def named(scores):
    if "kl_from_teacher" in scores:
      scores["teacher_kl"] = scores.pop("kl_from_teacher")
    bits = bits_per_byte(scores["nats_per_token"], tokens, text_bytes)
    counts = {"tokens": tokens, "bytes": int(text_bytes)}
    return scores | {"bits_per_byte": bits} | counts

  return [named(scores) for scores in scores_of_each]


def bits_per_byte(nats_per_token: float, tokens: int, text_bytes: int) -> float:
  """Makes of nats a token bits a byte, which tokenizers can be compared by.

  Example:
    >>> bits_per_byte(math.log(2.0), tokens=10, text_bytes=40)
    0.25
  """
  return nats_per_token * tokens / (text_bytes * math.log(2.0))


@functools.cache
def with_top_mass(task: Task, top: tuple[int, ...]) -> Task:
  """The same task with a metric "top_<k>_mass" for each k; one object for all calls."""
  metrics = {f"top_{k}_mass": top_mass(k) for k in top}
  return task._replace(metrics={**task.metrics, **metrics})


@functools.cache
def top_mass(k: int) -> Metric:
  """A metric: how much probability a network's k likeliest classes have.

  What a cache of the k likeliest classes leaves out is 1 minus that.

  Args:
    k: how many, 1 to V.

  Example:
    >>> logits = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]))
    >>> rows = Rows(logits, jnp.array([0, 0]), jnp.array([True, False]))
    >>> total, count = top_mass(2)(rows)
    >>> print(f"{total:.4f}", count)
    0.8000 1
  """

  def mass(logits):
    if not 1 <= k <= logits.shape[-1]:
      raise UserError(
        f"top: of {logits.shape[-1]} classes there are no {k} likeliest"
      )
    return jnp.exp(jax.lax.top_k(jax.nn.log_softmax(logits), k)[0]).sum()

  def metric(rows: Rows):
    counts = has_weight(rows.weight)
    return jnp.where(counts, by_row(mass, rows.answers), 0).sum(), counts.sum()

  return metric
