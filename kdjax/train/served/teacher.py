"""A teacher that somebody else serves, asked within the step."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole, misfit
from kdjax.core.errors import UserError, warn
from kdjax.core.factored import of_top_classes
from kdjax.core.method import Outputs
from kdjax.core.task import Batch, has_weight
from kdjax.core.teacher import Teacher
from kdjax.train.served.asking import Asker, find_model
from kdjax.train.served.endpoint import Endpoint, check_url


def served_teacher(
  url: str,
  *,
  classes: int,
  top_k: int = 64,
  model: str | None = None,
  timeout: float = 60.0,
  tries: int = 5,
  connections: int = 8,
) -> Teacher:
  """Makes a teacher of a language model behind an OpenAI-style endpoint.

  A step asks `POST URL/completions` with `prompt_logprobs`, as vLLM answers it:
  for each token the k likeliest, and what all others have together, the tail. That
  is what `topk_kd(k=..., tail='bucket')` reads, with the loss of a teacher in
  memory; other divergences see the tail spread evenly. Texts of files and of the
  student's own (`on_policy`) are asked about alike, each document of a packed
  sequence by itself, padding not at all, and the same text, as far as answers fit
  into 256 MB, once.

  A connection that fails, an answer that does not come in time, 429 and 5xx are
  tried again, with a warning; what else is wrong ends the training in one line, and
  the last checkpoint is from before that. The key of an endpoint that wants one
  is read from the environment variable KDJAX_TEACHER_KEY.

  Args:
    url: such as "http://localhost:8000/v1".
    classes: V, how many token ids student and teacher have; the student's tokenizer
      is the teacher's.
    top_k: k, 1 to V - 1, and no more than the server allows.
    model: its name there; the only one by default.
    timeout: seconds without a byte after which a try has failed.
    tries: of each request, the first after 1 second, then 2, 4, ...
    connections: texts that are asked about at once.

  Returns:
    The teacher. It shows no features and no classifier.

  Raises:
    UserError: for an argument of another kind; within a step, for a method that
      reads features, and batches without "tokens".
    TeacherError: for an endpoint that cannot be asked for its models; from
      `distill`, `evaluate` and the runner, for answers that fail.

  Example:
    >>> teacher = served_teacher("http://localhost:8000/v1", classes=100, model="m")
    >>> teacher.arrays, teacher.head(teacher.arrays)
    ((), None)
  """
  url = check_url(url)
  classes = check_whole("classes", classes, least=2)
  top_k = check_whole("top_k", top_k)
  if top_k >= classes:
    raise UserError(
      f"top_k={top_k}: there are {classes} tokens; ask for 1 to {classes - 1}"
    )
  if model is not None:
    check_text("model", model)
  if not (isinstance(timeout, int | float) and timeout > 0):
    raise misfit("timeout", "seconds > 0", timeout)
  endpoint = Endpoint(
    url, timeout, check_whole("tries", tries), say=partial(warn, speaker=None)
  )
  asker = Asker(
    endpoint,
    find_model(endpoint) if model is None else model,
    top_k=top_k,
    classes=classes,
    connections=check_whole("connections", connections),
  )
  return teacher_of(asker)


def teacher_of(asker: Asker) -> Teacher:
  """Makes a teacher of what asks an endpoint."""
  return Teacher(
    (),
    partial(_show, asker),
    lambda arrays: None,
    raise_fault=asker.raise_fault,
  )


def asker_of(teacher: Teacher) -> Asker:
  """Finds what asks for a served teacher.

  Raises:
    UserError: for a teacher that is not served.
  """
  asker = getattr(getattr(teacher, "raise_fault", None), "__self__", None)
  if not isinstance(asker, Asker):
    raise misfit("teacher", "a Teacher from kdjax.served_teacher", teacher)
  return asker


def _show(
  asker: Asker,
  arrays: tuple,
  batch: Batch,
  step: jax.Array,
  taps: Sequence[str],
) -> Outputs:
  if taps:
    raise UserError(
      f"teacher: {asker.endpoint.url} shows no features, and the method reads"
      f" {', '.join(taps)}"
    )
  tokens, documents = texts_of(batch)
  shape = tokens.shape
  form = (
    jax.ShapeDtypeStruct((*shape, asker.top_k), jnp.int32),
    jax.ShapeDtypeStruct((*shape, asker.top_k), jnp.float32),
    jax.ShapeDtypeStruct(shape, jnp.float32),
  )
  # Each row by itself: the callbacks of several CPU devices wait for each other
  # for ever where an argument has more than some 100 kB.
  found = jax.pure_callback(
    partial(_rows, asker),
    form,
    *tokens,
    *documents,
    vmap_method="broadcast_all",
  )
  return Outputs(of_top_classes(*found, asker.classes), {})


def _rows(asker: Asker, *rows: Any) -> tuple:
  """Of tokens and documents, (..., T) each, what `Asker.rows` says."""
  count = len(rows) // 2
  tokens, documents = (
    np.stack([np.asarray(x) for x in part], axis=-2)
    for part in (rows[:count], rows[count:])
  )
  return asker.rows(tokens, documents)


def texts_of(batch: Batch) -> tuple[jax.Array, jax.Array]:
  """A batch's tokens, (B, T), and the numbers of their documents, 0 for padding."""
  inputs = batch.teacher_inputs
  # A single input comes without its name.
  inputs = dict(inputs) if hasattr(inputs, "keys") else {"tokens": inputs}
  tokens = jnp.asarray(inputs.get("tokens", 0.0))
  if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
    raise UserError(
      "teacher: a served one reads an entry 'tokens', (B, T) int, of the batch"
    )
  tokens = tokens.astype(jnp.int32)
  documents = inputs.get("segments", jnp.ones_like(tokens)).astype(jnp.int32)
  mask = has_weight(batch.weight)[:, None]
  if "mask" in inputs:
    mask = mask & (inputs["mask"] != 0)
  return tokens, jnp.where(mask, documents, 0)
