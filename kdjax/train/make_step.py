"""A training step for any network, loop and optimiser."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from kdjax.core.arguments import (
  check_key,
  check_kind,
  check_whole,
  misfit,
)
from kdjax.core.entries import check_nan
from kdjax.core.errors import UserError
from kdjax.core.task import as_batch
from kdjax.core.teacher import check_places, teacher_head
from kdjax.train.average import average_rate, follow
from kdjax.train.devices.mapped import Placement, Program, arrays_of, jit
from kdjax.train.misfits import one_line_errors
from kdjax.train.objective import Objective, ask
from kdjax.train.objective import objective as make_objective
from kdjax.train.precision import float_dtype, in_precision
from kdjax.train.state import TrainState
from kdjax.train.step import take_step


class State(NamedTuple):
  """All that a training is at one of its steps; arrays alone.

  Attributes:
    params: {"network": the student's, "method": what the method learns}.
    opt_state: the optimiser's.
    state: (the student's other collections, what the method remembers).
    step: () int32, steps taken so far.
    key: PRNG key of the training; a step's is folded out of it.
    average: the average of the student's variables; None where there is none.
  """

  params: Any
  opt_state: Any
  state: Any
  step: jax.Array
  key: jax.Array
  average: Any = None


class Step(NamedTuple):
  """A training, step by step.

  Attributes:
    init: (key, variables, teacher, batch) -> State; `variables` are the
      student's, None for new ones; the teacher is None where nobody teaches.
    step: (state, teacher, batch) -> (State, metrics as (sum, count)). The memory
      of the state that goes in is used again: keep what comes out.
    variables: State -> the student's variables alone, to be used or saved.
  """

  init: Callable[[jax.Array, Any, Any, Any], State]
  step: Callable[[State, Any, Any], tuple[State, Any]]
  variables: Callable[[State], Any]


def make_step(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  placement: Placement | None = None,
  *,
  pieces: int = 1,
  dtype: Any = None,
  average: float | None = None,
) -> Step:
  """Makes the step that a loop takes for every batch.

  Args:
    objective: from `kdjax.objective`.
    optimizer: any of optax; it moves the student and what the method learns.
    placement: where it runs, `jit()`, `pmap()` or `sharded(mesh, rules)`; one
      device by default. The result is the same to rounding.
    pieces: into how many pieces each device cuts its batch, one after the other:
      the same step in less memory. A method that relates the examples of a batch
      needs one.
    dtype: what the student computes in, such as "bfloat16"; its parameters and
      their gradients stay float32.
    average: decay of an average of the student's past, in [0, 1), which is then
      what `variables` returns; None for none.

  Returns:
    The step.

  Raises:
    UserError: for an argument of another kind, a decay, type or number of pieces
      that is none; `init` and `step` for what does not fit, and `step` for a state
      that was used before.

  Example:
    >>> import flax.linen as nn
    >>> from kdjax.methods import make_objective
    >>> from kdjax.taps.network import from_linen
    >>> from kdjax.tasks import classification
    >>> from kdjax.train.objective import objective
    >>> student = from_linen(nn.Dense(3), classifier=None)
    >>> goal = objective(make_objective("hard"), student, classification(3))
    >>> step = make_step(goal, optax.sgd(0.1))
    >>> batch = {"image": jnp.ones((2, 4)), "label": jnp.array([0, 1])}
    >>> state = step.init(jax.random.key(0), None, None, batch)
    >>> state, metrics = step.step(state, None, batch)
    >>> int(state.step), sorted(metrics)
    (1, ['accuracy', 'ce', 'loss'])
  """
  check_kind("objective", objective, "objective")
  check_kind("optimizer", optimizer, "optimizer")
  check_kind("placement", placement, "placement", optional=True)
  pieces = check_whole("pieces", pieces)
  number = isinstance(average, int | float)
  if average is not None and not (number and 0 <= average < 1):
    raise misfit("average", "a decay in [0, 1), or None", average)
  if dtype is not None:
    network = in_precision(objective.network, float_dtype(dtype))
    objective = make_objective(objective.method, network, objective.task)
  network = objective.network
  program = program_of(objective, optimizer, pieces=pieces, average=average)
  begin, advance = (placement or jit()).compile(program)

  def init(key, variables, teacher, batch):
    check_key("key", key)
    check_kind("teacher", teacher, "teacher", optional=True)
    check_nan(as_batch(objective.task, arrays_of(batch)), batch)
    check_places(teacher, batch)
    with one_line_errors(objective, variables, teacher, batch):
      return begin(key, variables, teacher, batch)

  def step(state, teacher, batch):
    check_kind("state", state, "state")
    check_kind("teacher", teacher, "teacher", optional=True)
    if _is_used(state.step):
      raise UserError(
        "state: a step has used it already, and its memory: go on with the state"
        " that the step returned, or keep a copy"
      )
    check_places(teacher, batch)
    with one_line_errors(objective, None, teacher, batch):
      return advance(state, teacher, batch)

  def variables(state):
    check_kind("state", state, "state")
    if state.average is not None:
      return network.native(state.average)
    params = _evaluated(state.opt_state, state.params)
    return network.native(_variables(params, state.state))

  return Step(init, step, variables)


def program_of(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  *,
  pieces: int = 1,
  average: float | None = None,
) -> Program:
  """Makes a training as it is on one device, see `make_step`."""
  method, network, task = objective.method, objective.network, objective.task

  def init(key, variables, teacher, batch):
    params, state = objective.init(key, variables, teacher, batch)
    mean = None if average is None else _variables(params, state)
    opt_state = optimizer.init(params)
    step = jnp.zeros((), jnp.int32)
    # Steps use the memory of what they get again: these arrays are the state's.
    return jax.tree.map(_copy, State(params, opt_state, state, step, key, mean))

  def step(state, teacher, batch, axis_name=None, examples=None):
    before = TrainState(
      step=state.step,
      params=state.params,
      opt_state=state.opt_state,
      collections=state.state[0],
      method_state=state.state[1],
      network=network,
      tx=optimizer,
      task=task,
    )
    after, metrics = take_step(
      before,
      method,
      batch,
      ask(method, teacher, batch, state.step, task),
      rng=jax.random.fold_in(state.key, state.step),
      axis_name=axis_name,
      head=teacher_head(teacher),
      pieces=pieces,
      examples=examples,
    )
    memory = (after.collections, after.method_state)
    mean = state.average
    if average is not None:
      rate = average_rate(after.step, average)
      mean = follow(mean, _variables(after.params, memory), rate)
    return (
      State(after.params, after.opt_state, memory, after.step, state.key, mean),
      metrics,
    )

  def read(item):
    return as_batch(task, item)

  return Program(init, step, read, pieces, method.couples_batch)


def _is_used(x: Any) -> bool:
  """Says whether a step has used an array's memory for another one."""
  array = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
  return array and x.is_deleted()


def _variables(params: Any, state: Any) -> dict[str, Any]:
  return {"params": params["network"], **state[0]}


def _evaluated(opt_state: Any, params: Any) -> Any:
  """The parameters that are used: of a schedule-free optimiser its average."""
  if isinstance(opt_state, optax.contrib.ScheduleFreeState):
    return optax.contrib.schedule_free_eval_params(opt_state, params)
  if type(opt_state) is tuple:
    for part in opt_state:
      params = _evaluated(part, params)
  return params


def _copy(x: jax.Array) -> jax.Array:
  if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
    data = jnp.array(jax.random.key_data(x))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
  # A weak type would be another one after the first step, and compile twice.
  return jnp.array(x, x.dtype)
