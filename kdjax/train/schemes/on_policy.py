"""On-policy distillation: a student is taught on what it writes itself."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.method import Metrics
from kdjax.train.loader import repeat_steps
from kdjax.train.schemes import own_texts
from kdjax.train.schemes.own_texts import Texts, Write
from kdjax.train.schemes.scheme import Scheme
from kdjax.train.state import TrainState, create_state, variables


class OnPolicyState(NamedTuple):
  """A student, and the texts that it learns from.

  Attributes:
    student: its state.
    texts: of the whole batch, as they were last written; {} where each step
      writes anew.
  """

  student: TrainState
  texts: Texts


def on_policy(
  write: Write,
  *,
  new_tokens: int,
  share: float = 1.0,
  teacher_share: float = 0.0,
  updates: int = 1,
  batch_size: int | None = None,
  pieces: int = 1,
) -> Scheme:
  """Makes a scheme in which the student learns from texts of its own.

  In each step the student, with the weights that it has, goes on from the
  prompts of the batch, and the teacher answers to what it wrote: one program, one
  set of weights. Of a text the generated tokens alone count, that which ends it
  included; they are nobody's labels, so that no cross-entropy learns from them. A
  batch whose texts are not the student's has the file's answers, with labels.

  A row of the task language_model is a prompt, P tokens at most, with an answer
  behind it; the prompt ends where the first target stands. Rows have the length P
  + N. What is written depends on the member's seed, the step and the row's index.

  Cost: N forward passes of one token, and the teacher's of each member's texts.

  Args:
    write: (network, variables, {"tokens", "mask"} (B, P), key=, step=, ids=,
      teacher=) -> "tokens", "mask", "counts" (B, P + N), as those of
      `kdjax.models.generation.rollout`; of the teacher it is handed what it knows.
      A prompt of which nothing counts is left empty.
    new_tokens: N, the most tokens that are written.
    share: probability that a batch is the student's own, in (0, 1]; each draws.
    teacher_share: of what `write` draws from, the teacher's; methods are told.
    updates: steps that are taken on the same texts, which are then written with
      weights 0, 1, ..., updates - 1 steps old.
    batch_size: of all devices; needed for more than one update.
    pieces: see `take_step`.

  Returns:
    The scheme; its state is `OnPolicyState`.

  Raises:
    ValueError: for a share outside (0, 1], fewer than one new token or update, or
      a batch size that is missing.

  Example:
    >>> on_policy(None, new_tokens=8, share=0.5).asks
    True

  Source:
    Agarwal et al. 2024, arXiv:2306.13649 (GKD; share is its lambda).
  """
  if not 0 < share <= 1:
    raise ValueError(f"share must be in (0, 1], got {share}")
  if new_tokens < 1 or updates < 1:
    raise ValueError(
      "new_tokens and updates must be at least 1, got"
      f" {new_tokens} and {updates}"
    )
  if updates > 1 and batch_size is None:
    raise ValueError("batch_size is needed for more than one update")
  return Scheme(
    create=partial(_create, batch_size if updates > 1 else None),
    step=partial(
      _step, write, new_tokens, (share, teacher_share), updates, pieces
    ),
    network=lambda state: variables(state.student),
    adapt_loader=partial(repeat_steps, times=updates) if updates > 1 else None,
    asks=True,
  )


def _create(batch_size, *arguments, inputs, **options) -> OnPolicyState:
  state = create_state(*arguments, inputs=inputs, **options)
  if batch_size is None:
    return OnPolicyState(state, {})
  return OnPolicyState(state, own_texts.no_texts(batch_size, inputs))


def _step(
  write,
  new_tokens,
  shares,
  updates,
  pieces,
  state,
  method,
  batch,
  teacher,
  *,
  rng,
  axis_name=None,
  **options,
) -> tuple[OnPolicyState, Metrics]:
  age = state.student.step % updates
  key, share_key = jax.random.split(rng)
  is_own = jax.random.uniform(share_key) < shares[0]
  written = own_texts.of_student(
    write,
    state.student,
    batch,
    teacher,
    new_tokens=new_tokens,
    due=is_own & (age == 0),
    key=key,
  )
  texts = own_texts.either(is_own, written, own_texts.of_file(batch))
  kept = state.texts
  if updates > 1:
    whole_batch = own_texts.of_whole_batch(texts, axis_name)
    kept = own_texts.either(age == 0, whole_batch, kept)
    texts = own_texts.take(kept, batch.position)
  student, metrics = own_texts.learn(
    state.student,
    method,
    texts,
    batch,
    teacher,
    teacher_share=shares[1],
    rng=rng,
    axis_name=axis_name,
    pieces=pieces,
    **options,
  )
  metrics |= {"staleness": (age.astype(jnp.float32), jnp.float32(1))}
  return OnPolicyState(student, kept), metrics
