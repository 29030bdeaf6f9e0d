"""Mean teacher: the student's twin, an average of its weights, teaches it."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax.core.method import Method, Metrics
from kdjax.train.average import average_rate, follow
from kdjax.train.forward import forward
from kdjax.train.loader import repeat_examples
from kdjax.train.precision import as_network
from kdjax.train.schemes.peers import check_method
from kdjax.train.schemes.registry import register
from kdjax.train.schemes.scheme import Scheme
from kdjax.train.state import TrainState, create_state, variables
from kdjax.train.step import take_step

ROLES = ("student", "twin")


class Twins(NamedTuple):
  """A student and what became of its weights on average.

  Attributes:
    student: its state.
    twin: variables of the network that teaches.
  """

  student: TrainState
  twin: dict[str, Any]


# The objective is the published one, but for its squared error.
@register("mean_teacher", objective="ce:1 + kd:1")
def mean_teacher(
  *, decay: float = 0.999, views: int = 1, measured: str = "twin"
) -> Scheme:
  """Makes a scheme that is taught by the average of its own past.

  twin_t = a_t twin_(t-1) + (1 - a_t) student_t,  a_t = min(1 - 1/(t+1), decay)

  with steps t from 0. Batch statistics follow too. The twin answers without
  dropout, by its running statistics. Cost: one more forward pass a step.

  Args:
    decay: of the average, in [0, 1); the ramp-up forgets the first weights.
    views: 1 where both see the same images, 2 where the twin sees another
      random view of the batch than the student.
    measured: "twin", as published, or "student".

  Returns:
    The scheme; its state is `Twins`.

  Raises:
    ValueError: for a decay outside [0, 1), or another number of views or name.

  Example:
    >>> mean_teacher(decay=0.99).roles
    ('student', 'twin')

  Source:
    Tarvainen, Valpola 2017, arXiv:1703.01780.
  """
  if not isinstance(decay, int | float) or not 0 <= decay < 1:
    raise ValueError(f"decay must be in [0, 1), got {decay}")
  if views not in (1, 2):
    raise ValueError(f"views must be 1 or 2, got {views}")
  if str(measured) not in ROLES:
    raise ValueError(f"measured must be twin or student, got {measured}")
  place = ROLES.index(str(measured))
  return Scheme(
    create=_create,
    step=partial(_step, decay, views),
    network=lambda state: (variables(state.student), state.twin)[place],
    roles=ROLES,
    all_networks=_both,
    adapt_loader=partial(repeat_examples, times=views) if views > 1 else None,
    averages=ROLES[place] == "twin",
    other_views=views > 1,
  )


def _both(state: Twins) -> dict[str, Any]:
  student = variables(state.student)
  return jax.tree.map(lambda *x: jnp.stack(x), student, state.twin)


def _create(
  network: nn.Module,
  method: Method,
  optimizer: optax.GradientTransformation,
  *,
  rng,
  task,
  inputs,
  teacher=None,
  head=None,
  **options,
) -> Twins:
  del teacher, head
  check_method(method)
  # As `create_state` splits it: the twin's first answers are the student's.
  network = as_network(network)
  initial = network.init(jax.random.split(rng)[0], inputs)
  outputs, _ = forward(
    network, initial, task.sample(inputs), method.teacher_taps, task
  )
  state = create_state(
    network,
    method,
    optimizer,
    rng=rng,
    task=task,
    inputs=inputs,
    teacher=outputs,
    head=network.classifier(initial),
    **options,
  )
  return Twins(state, variables(state))


def _step(
  decay, views, state, method, batch, teacher=None, *, head=None, **options
) -> tuple[Twins, Metrics]:
  del teacher, head
  outputs, _ = forward(
    state.student.network,
    state.twin,
    jax.tree.map(lambda x: x[views - 1 :: views], batch),
    method.teacher_taps,
    state.student.task,
  )
  student, metrics = take_step(
    state.student,
    method,
    jax.tree.map(lambda x: x[::views], batch),
    jax.lax.stop_gradient(outputs),
    head=state.student.network.classifier(state.twin),
    **options,
  )
  rate = average_rate(state.student.step, decay)
  return Twins(student, follow(state.twin, variables(student), rate)), metrics
