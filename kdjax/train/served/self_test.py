"""Whether a served teacher can be believed, found out before a training begins."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import TeacherError
from kdjax.core.teacher import Teacher
from kdjax.taps.network import Network
from kdjax.train.served.asking import Asker
from kdjax.train.served.teacher import asker_of

# Nats between two answers to one text. Servers that compute in bfloat16 round
# otherwise in another batch.
REPEATED = 0.1
LOCAL = 1e-2


def check_repeatable(
  asker: Asker, tokens: np.ndarray, *, tolerance: float = REPEATED
) -> None:
  """Asks about the beginning of a text alone, and then within the whole text.

  What is said of a token must depend on nothing but what stands before it.

  Args:
    tokens: (T,) ids, four or more.
    tolerance: nats between the two answers.

  Raises:
    TeacherError: names the place and both numbers; and as `Asker.about`.
  """
  half = len(tokens) // 2
  (alone,) = asker.about([tokens[:half]])
  # In one batch with others, of other lengths.
  whole, *_ = asker.about([tokens, tokens[half:], tokens[: half + 1]])
  for place in range(half - 1):
    _compare(
      f"teacher {asker.endpoint.url}: token {tokens[place + 1]} at place"
      f" {place + 1} of a training text",
      ("asked about alone", alone.standing[place]),
      ("with more behind it", whole.standing[place]),
      tolerance,
    )


def check_same_network(
  teacher: Teacher,
  network: Network,
  variables: Any,
  tokens: Any,
  *,
  tolerance: float = LOCAL,
) -> float:
  """Compares a served teacher with the same network in memory, on one text.

  Args:
    teacher: from `kdjax.served_teacher`.
    network: from `kdjax.pretrained.load` of what is served.
    variables: its variables.
    tokens: (T,) ids of a text.
    tolerance: nats between the log-probabilities of any of the k likeliest tokens.

  Returns:
    The largest difference, nats.

  Raises:
    TeacherError: for a larger one, with the place, the token and both numbers; and
      for a fault of the endpoint.
  """
  asker, tokens = asker_of(teacher), np.asarray(tokens, np.int32)
  (served,) = asker.about([tokens])
  inputs = {"tokens": tokens[None], "mask": np.ones((1, len(tokens)), bool)}
  logits = network.apply(variables, inputs)[0][0]
  log_probs = np.asarray(jax.nn.log_softmax(logits.astype(jnp.float32)))
  local = np.take_along_axis(log_probs[:-1], served.indices, axis=1)
  difference = np.abs(local - served.log_probabilities)
  place, rank = np.unravel_index(difference.argmax(), difference.shape)
  _compare(
    f"teacher {asker.endpoint.url}: token {served.indices[place, rank]} behind"
    f" place {place}",
    ("served", served.log_probabilities[place, rank]),
    ("in memory", local[place, rank]),
    tolerance,
  )
  return float(difference.max())


def _compare(
  what: str, one: tuple[str, float], other: tuple[str, float], tolerance: float
) -> None:
  if not abs(one[1] - other[1]) <= tolerance:
    raise TeacherError(
      f"{what} has the log-probability {one[1]:.4f} {one[0]} and {other[1]:.4f}"
      f" {other[0]}, more than {tolerance:g} nats apart"
    )
