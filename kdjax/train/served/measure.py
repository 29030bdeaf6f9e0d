"""How well a served teacher tells texts, from what it says of the tokens there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.core.task import Task, as_batch, has_weight
from kdjax.core.teacher import Teacher
from kdjax.evaluate.language import bits_per_byte
from kdjax.train.served.asking import documents_of
from kdjax.train.served.teacher import asker_of, texts_of


def measure_served(
  teacher: Teacher,
  sequences: Mapping[str, Any],
  *,
  task: Task,
  text_bytes: int,
  top: Sequence[int] = (),
) -> dict[str, float | int]:
  """Measures a served teacher as `kdjax.evaluate.measure_text` does a network.

  Args:
    teacher: from `kdjax.served_teacher`.
    sequences: (N, T) arrays by name.
    task: `kdjax.tasks.language_model(...)`.
    text_bytes: of UTF-8 that the tokens that count stand for.
    top: for each k of these how much probability the k likeliest tokens have; no
      more than the teacher is asked for.

  Returns:
    "nats_per_token", "bits_per_byte", "perplexity", "accuracy", "tokens",
    "bytes", and by k "top_<k>_mass".

  Raises:
    TeacherError: for a fault of the endpoint.
  """
  asker, batch = asker_of(teacher), as_batch(task, sequences)
  tokens, documents = map(np.asarray, texts_of(batch))
  shape = len(tokens), -1
  counts = np.asarray(has_weight(task.weights(batch).rows)).reshape(shape)
  targets = np.asarray(batch.targets).reshape(shape)
  places = [*documents_of(documents)]
  answers = asker.about([tokens[i, start:stop] for i, start, stop in places])
  sums = np.zeros(2 + len(top))
  for (i, start, stop), one in zip(places, answers, strict=True):
    here = slice(start, stop - 1)
    counting = counts[i, here]
    probs = np.exp(one.log_probabilities[counting].astype(float))
    right = one.indices[counting, 0] == targets[i, here][counting]
    masses = (probs[:, :k].sum() for k in top)
    sums += -one.standing[counting].sum(dtype=float), right.sum(), *masses
  count = int(counts.sum())
  nats, accuracy, *masses = (sums / count).tolist()
  return {
    "nats_per_token": nats,
    "perplexity": float(np.exp(nats)),
    "accuracy": accuracy,
    "bits_per_byte": bits_per_byte(nats, count, text_bytes),
    "tokens": count,
    "bytes": int(text_bytes),
  } | {f"top_{k}_mass": mass for k, mass in zip(top, masses, strict=True)}
