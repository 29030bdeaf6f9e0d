"""DistiLLM's choice of texts: the file's, and its own again and again if need be."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.method import Metrics
from kdjax.train.schemes import own_texts
from kdjax.train.schemes.own_texts import Texts, Write
from kdjax.train.schemes.scheme import Scheme
from kdjax.train.state import TrainState, create_state, variables


class AdaptiveState(NamedTuple):
  """A student, the texts that it wrote, and how often it learns from them.

  Attributes:
    student: its state.
    texts: the last ones that it wrote, of all devices.
    written: () int32, how many it wrote in all.
    share: () float32, probability that a batch is of its own texts.
    loss: () float32, the validation loss when that was last raised.
  """

  student: TrainState
  texts: Texts
  written: jax.Array
  share: jax.Array
  loss: jax.Array


def adaptive_policy(
  write: Write,
  validate: Callable[[Any, Any, jax.Array], jax.Array],
  *,
  new_tokens: int,
  batch_size: int,
  steps: int,
  every: int,
  capacity: int = 1000,
  tolerance: float = 0.1,
  rise: float = 0.1,
  pieces: int = 1,
) -> Scheme:
  """Makes a scheme in which the student learns from its own texts when it must.

  A batch is of the student's own texts with probability phi, which begins at 0. Every
  so many steps the validation loss is measured; if it is `tolerance` above what it was
  at the beginning, or when phi was last raised, phi rises by `rise`. Own texts are
  written anew with probability phi (1 - t / steps) and while there are fewer than are
  kept, and drawn from those kept (the last ones) otherwise. See `on_policy` for what a
  row is, and what of a text counts.

  Args:
    write: as `on_policy` takes it.
    validate: (network, variables, () bool) -> () float32, the validation loss; where
      the last is False anything, without delay.
    new_tokens: N, the most tokens that are written.
    batch_size: of all devices.
    steps: of the whole training.
    every: steps from one measurement to the next.
    capacity: texts that are kept, rounded up to whole batches.
    tolerance: nats.
    rise: of phi, at most up to 1.
    pieces: see `take_step`.

  Returns:
    The scheme; its state is `AdaptiveState`.

  Raises:
    ValueError: for a capacity, or a number of steps, below 1.

  Example:
    >>> settings = {"new_tokens": 8, "batch_size": 4, "steps": 10, "every": 5}
    >>> adaptive_policy(None, None, **settings).asks
    True

  Source:
    Ko et al. 2024, arXiv:2402.03898, algorithm 1, with the numbers of its code.
  """
  if min(capacity, steps, every) < 1:
    raise ValueError(
      "capacity, steps and every must be at least 1, got"
      f" {capacity}, {steps} and {every}"
    )
  count = -(-capacity // batch_size) * batch_size

  def create(*arguments, inputs, **options):
    state = create_state(*arguments, inputs=inputs, **options)
    zero = jnp.float32(0)
    texts = own_texts.no_texts(count, inputs)
    return AdaptiveState(state, texts, jnp.int32(0), zero, zero)

  return Scheme(
    create=create,
    step=partial(
      _step,
      write,
      partial(_with_share, validate, every, tolerance, rise),
      new_tokens,
      steps,
      pieces,
    ),
    network=lambda state: variables(state.student),
    asks=True,
  )


def _with_share(validate, every, tolerance, rise, state) -> AdaptiveState:
  """Measures where it is due, and raises the share where the loss has risen."""
  student = state.student
  due = student.step % every == 0
  loss = validate(student.network, variables(student), due)
  worse = due & (student.step > 0) & (loss >= state.loss + tolerance)
  share = jnp.where(worse, jnp.minimum(state.share + rise, 1.0), state.share)
  first = student.step == 0
  return state._replace(
    share=share, loss=jnp.where(worse | first, loss, state.loss)
  )


def _step(
  write,
  with_share,
  new_tokens,
  steps,
  pieces,
  state,
  method,
  batch,
  teacher,
  *,
  rng,
  axis_name=None,
  **options,
) -> tuple[AdaptiveState, Metrics]:
  state = with_share(state)
  student, capacity = state.student, len(state.texts["weight"])
  key, share_key, replay_key = jax.random.split(rng, 3)
  draw = jax.random.uniform(share_key)
  is_own = draw < state.share
  is_new = is_own & (
    (draw < state.share * (1 - student.step / steps))
    | (state.written < capacity)
  )
  new = own_texts.of_student(
    write, student, batch, teacher, new_tokens=new_tokens, due=is_new, key=key
  )
  # The oldest texts give way to those of the whole batch.
  whole_batch = own_texts.of_whole_batch(new, axis_name)
  size = len(whole_batch["weight"])
  place = state.written % capacity
  replaced = jax.tree.map(
    lambda kept, x: jax.lax.dynamic_update_slice_in_dim(kept, x, place, 0),
    state.texts,
    whole_batch,
  )
  kept = own_texts.either(is_new, replaced, state.texts)
  written = state.written + jnp.where(is_new, size, 0)
  chances = jax.random.uniform(replay_key, (capacity,))
  is_written = jnp.arange(capacity) < jnp.minimum(written, capacity)
  _, rows = jax.lax.top_k(jnp.where(is_written, chances, -1.0), size)
  replayed = own_texts.take(kept, rows[batch.position])
  texts = own_texts.either(
    is_own,
    own_texts.either(is_new, new, replayed),
    own_texts.of_file(batch),
  )
  student, metrics = own_texts.learn(
    student,
    method,
    texts,
    batch,
    teacher,
    rng=rng,
    axis_name=axis_name,
    pieces=pieces,
    **options,
  )
  one = jnp.float32(1)
  metrics |= {
    "own_share": (state.share, one),
    "replayed": ((is_own & ~is_new).astype(jnp.float32), one),
  }
  state = state._replace(student=student, texts=kept, written=written)
  return state, metrics
