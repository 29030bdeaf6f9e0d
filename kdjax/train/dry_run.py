"""Whether a method can train one network on another, found out by shapes alone."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import partial_eval

from kdjax.core.calling import call_with
from kdjax.core.errors import UserError, program
from kdjax.core.factored import over_rows
from kdjax.core.method import Method, Outputs
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher, observe, teacher_head
from kdjax.taps import select
from kdjax.train.loader import Loader
from kdjax.train.misfits import taps_of
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import full_precision
from kdjax.train.schemes.scheme import OFFLINE, Scheme
from kdjax.train.teacher import live_teacher

# Enough for methods that relate examples.
EXAMPLES = 4


def check_step(
  student: nn.Module,
  teacher: nn.Module | Teacher | None,
  method: Method,
  sample: Any,
  task: Task,
  scheme: Scheme = OFFLINE,
  examples: int = EXAMPLES,
) -> None:
  """Traces a whole step without computing anything.

  Args:
    teacher: likewise, or what is left of one; None where nobody teaches but the
      scheme itself.
    sample: inputs (1, ...), for their shape and type.
    examples: of a batch, where a scheme's state depends on it.
  """

  step = _step_of(student, teacher, method, sample, task, scheme, examples)
  try:
    with taps_of("student"):
      jax.eval_shape(step, jax.random.key(0), 0.0)
  except (TypeError, ValueError) as error:
    raise UserError(str(error).split("\n")[0]) from error


def reads_answers(
  student: nn.Module,
  teacher: nn.Module,
  method: Method,
  sample: Any,
  task: Task,
  scheme: Scheme = OFFLINE,
) -> bool:
  """Says whether a step depends on what the teacher's classifier makes of it.

  Args:
    student: as for `check_step`, which has found nothing wrong.

  Returns:
    Whether the student's next state or the loss changes with the teacher's
    logits or with its classifier's parameters; found without computing any.

  Example:
    >>> from kdjax.methods import make_objective
    >>> from kdjax.models import make_model
    >>> from kdjax.tasks import classification
    >>> mlp, sample = make_model("mlp(4)", classes=3), jnp.zeros((1, 2, 2, 1))
    >>> for name in ("kd", "fitnets:1 + ce"):
    ...   objective = make_objective(name)
    ...   print(reads_answers(mlp, mlp, objective, sample, classification(3)))
    True
    False
  """
  step = _step_of(student, teacher, method, sample, task, scheme)
  program = jax.make_jaxpr(step)(jax.random.key(0), 0.0)
  outputs = [True] * len(program.jaxpr.outvars)
  _, reads = partial_eval.dce_jaxpr(program.jaxpr, outputs)
  return reads[-1]


def _step_of(student, teacher, method, sample, task, scheme, examples=EXAMPLES):
  """A step as a function of randomness and of what is added to all answers."""

  def step(rng, change):
    index = _example_index(scheme, examples)
    inputs = jax.tree.map(
      lambda x: jnp.zeros((len(index), *x.shape[1:]), x.dtype), sample
    )
    batch = task.sample(inputs)._replace(index=index, position=index)
    live = teacher
    if not isinstance(teacher, Teacher | None):
      variables = call_with(teacher.init, rng, inputs, train=False)
      live = live_teacher(full_precision(teacher), variables)
    with taps_of("teacher"):
      outputs = observe(live, batch, method.teacher_taps, task=task)
    if live is teacher and outputs is not None:
      for one in outputs.members or (outputs,):
        _check_stored(one, method.teacher_taps)
    head = jax.tree.map(lambda x: x + change, teacher_head(live))
    if outputs is not None:
      answers = over_rows(lambda x: x + change, outputs.answers)
      outputs = outputs._replace(answers=answers)
    state = scheme.create(
      student,
      method,
      make_optimizer("sgd", "constant", 1),
      rng=rng,
      task=task,
      inputs=inputs,
      teacher=outputs,
      learning_rate=0.0,
      head=head,
    )
    shows = live if scheme.asks else outputs
    state, metrics = scheme.step(
      state, method, batch, shows, rng=rng, head=head
    )
    return jax.tree.leaves(state), metrics["loss"]

  return step


def _check_stored(outputs: Outputs, taps: Sequence[str]) -> None:
  """Refuses a cache that does not have the features that are looked at."""
  for tap in taps:
    try:
      select(outputs.feats, tap)
    except UserError:
      there = ", ".join(sorted(outputs.feats))
      has = f"only the features {there}" if there else "no features"
      raise UserError(
        f"the teacher's tap {tap!r}: the cache has {has}; `{program()} cache`"
        f" with the same --distillation, or with --cache_taps={' '.join(taps)!r},"
        " writes what is looked at"
      ) from None


def _example_index(scheme: Scheme, examples: int) -> jax.Array:
  """The examples of a batch, as the scheme is shown them."""
  index = np.arange(examples, dtype=np.int32)
  loader = Loader(
    lambda *_: (index[None], np.ones((1, examples))), 1, None, None
  )
  loader = scheme.adapt_loader(loader) if scheme.adapt_loader else loader
  return jnp.asarray(loader.batches(0, 0, 1)[0][0])
