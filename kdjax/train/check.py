"""A training of a user's own, found out by shapes alone."""

from collections.abc import Mapping
from typing import Any

import jax
import optax
from jax.interpreters import partial_eval

from kdjax.core.arguments import check_kind
from kdjax.core.entries import check_nan
from kdjax.core.errors import UserError
from kdjax.core.task import as_batch
from kdjax.core.teacher import Teacher, check_places
from kdjax.train.devices.mapped import arrays_of
from kdjax.train.make_step import program_of
from kdjax.train.misfits import check_networks, check_values, one_line_errors
from kdjax.train.objective import Objective


def check(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  batch: Any,
  teacher: Teacher | None,
  *,
  variables: Any = None,
) -> None:
  """Takes one step by shapes: finds what does not fit, and computes nothing.

  Args:
    objective: from `kdjax.objective`.
    optimizer: any of optax.
    batch: one of the training; shapes (jax.ShapeDtypeStruct) do.
    teacher: the teacher, or None.
    variables: the student's; None where it begins with new ones.

  Returns:
    Nothing, where all fits.

  Raises:
    UserError: for a batch without an entry that the task, stored answers or a
      memory read, with entries of several lengths, or nan among the inputs; a tap
      that is not reached; answers that are not the task's; student and teacher
      whose answers do not fit; a teacher that is missing or holds nan; what is no
      objective, teacher or optimiser.

  Example:
    >>> import flax.linen as nn
    >>> from kdjax.methods import make_objective
    >>> from kdjax.taps.network import from_linen
    >>> from kdjax.tasks import classification
    >>> from kdjax.train.objective import objective
    >>> student = from_linen(nn.Dense(3), classifier=None)
    >>> goal = objective(make_objective("hard"), student, classification(3))
    >>> batch = {"image": jnp.ones((2, 4)), "label": jnp.array([0, 1])}
    >>> check(goal, optax.sgd(0.1), batch, None)
  """
  check_values(optimizer, teacher)
  check_shapes(objective, optimizer, batch, teacher, variables=variables)


def check_shapes(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  batch: Any,
  teacher: Teacher | None,
  *,
  variables: Any,
) -> None:
  """As `check`, of an optimiser and a teacher that are looked into already."""
  check_kind("objective", objective, "objective")
  if variables is not None:
    objective.network.collections(variables)
  batch = arrays_of(batch)
  check_nan(as_batch(objective.task, batch), batch)
  program = program_of(objective, optimizer)
  shapes = (jax.random.key(0), variables, teacher, batch)

  def step(index, key, variables, teacher, batch):
    batch = as_batch(objective.task, batch)
    state = program.init(key, variables, teacher, batch)
    if index is not None:
      batch = batch._replace(index=index)
    return program.step(state, teacher, batch)

  check_places(teacher, batch)
  with one_line_errors(objective, variables, teacher, batch):
    jax.eval_shape(step, None, *shapes)
  check_networks(objective, variables, teacher, batch)
  if isinstance(batch, Mapping) and "index" not in batch:
    _check_index(step, shapes, objective.task)


def _check_index(step, shapes, task) -> None:
  """Refuses a step that depends on places that the batch does not hold."""
  index = jax.eval_shape(lambda b: as_batch(task, b).index, shapes[-1])
  traced = jax.make_jaxpr(step)(index, *shapes)
  _, reads = partial_eval.dce_jaxpr(
    traced.jaxpr, [True] * len(traced.jaxpr.outvars)
  )
  if reads[0]:
    raise UserError(
      "batch: the method or the teacher remembers examples by an entry 'index',"
      f" (B,) int, their places in the training set; there is:"
      f" {', '.join(shapes[-1])}"
    )
