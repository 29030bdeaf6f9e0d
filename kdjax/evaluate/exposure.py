"""The exposure curve: how far a student is from its teacher, step by step of a text.

A student is trained on others' texts and used on its own, where each of its slips
is what it reads next. How the distance from the teacher grows with the step, on the
student's texts against on the teacher's, says how much of that is left to learn.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import losses
from kdjax.core.arguments import check_kind, check_whole
from kdjax.core.entries import check_nan
from kdjax.core.factored import by_row
from kdjax.core.task import Task, as_batch, has_weight
from kdjax.core.teacher import Teacher, observe
from kdjax.data import open_batches
from kdjax.evaluate.rows import rows_of


def kl_by_step(
  network: Any,
  variables: Any,
  teacher: Teacher,
  texts: Mapping[str, Any],
  *,
  task: Task,
  steps: int,
  batch_size: int = 8,
) -> dict[str, np.ndarray]:
  """Measures KL(teacher || network) at each generated token of some texts.

  Args:
    network: the student, from `kdjax.pretrained.load` or the like.
    variables: its variables.
    teacher: from `live_teacher` and the like.
    texts: arrays (N, T) by name, one text a row: "tokens", "mask", and "counts",
      which says what was generated behind the prompt, as
      `kdjax.models.generation.rollout` returns them.
    task: `kdjax.tasks.language_model(...)`.
    steps: S, of the generation; later ones are left out.
    batch_size: texts at a time.

  Returns:
    "kl" (S,), the mean over the texts that have such a step, in nats, nan where
    none has; and "texts" (S,), how many those are.

  Raises:
    UserError: for what is no network, teacher or task, and fewer steps than one.

  Source:
    Bengio et al. 2015, arXiv:1506.03099 (exposure bias); Ko et al. 2024,
    arXiv:2402.03898.
  """
  check_kind("network", network, "network")
  check_kind("teacher", teacher, "teacher")
  check_kind("task", task, "task")
  steps = check_whole("steps", steps)
  program = _program(network, task, steps)
  totals = np.zeros((2, steps))
  size = min(batch_size, len(texts["tokens"]))
  for item in open_batches(texts, batch_size=size):
    batch = as_batch(task, item)
    check_nan(batch, item)
    totals += np.asarray(program(variables, teacher, batch), np.float64)
  sums, counts = totals
  with np.errstate(invalid="ignore"):
    return {"kl": sums / counts, "texts": counts.astype(int)}


@functools.lru_cache(maxsize=16)
def _program(network: Any, task: Task, steps: int):
  @jax.jit
  def sums(variables, teacher, batch):
    rows = rows_of(network, variables, batch, task)
    answers = observe(teacher, batch, step=jnp.int32(0), task=task).answers
    kl = by_row(losses.forward_kl, rows.answers, answers)
    counts = has_weight(rows.weight).reshape(len(batch.weight), -1)
    # The i-th token of a text that counts is its step i; others have none.
    step = jnp.where(counts, jnp.cumsum(counts, axis=1) - 1, steps)
    weights = jnp.stack([jnp.where(counts.ravel(), kl, 0), counts.ravel()])
    return jnp.zeros((2, steps)).at[:, step.ravel()].add(weights, mode="drop")

  return sums
