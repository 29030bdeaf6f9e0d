"""Whether a method can train one network on another, found out by shapes alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.method import Method
from kdjax.train.optimizer import make_optimizer
from kdjax.train.state import create_state, frozen_state
from kdjax.train.steps import Batch, take_step, unlabelled
from kdjax.train.teacher import live, observe, teacher_head

# Enough for methods that relate examples.
EXAMPLES = 4


def try_step(
  student: nn.Module,
  teacher: nn.Module,
  method: Method,
  sample: jax.Array,
) -> None:
  """Traces a whole step without computing anything.

  Args:
    student: linen module called as `student(images, train=...)`.
    teacher: likewise.
    method: what is to train the student.
    sample: (1, H, W, C) an image, for its shape and type.

  Raises:
    UserError: if a tap is not there, or the method cannot use what it gets.

  Example:
    >>> from kdjax.methods import make_objective
    >>> from kdjax.models import make_model
    >>> mlp, kd = make_model("mlp(4)", classes=3), make_objective("kd")
    >>> try_step(mlp, mlp, kd, jnp.zeros((1, 2, 2, 1)))
  """

  def step(rng):
    images = jnp.zeros((EXAMPLES, *sample.shape[1:]), sample.dtype)
    index = jnp.arange(EXAMPLES)
    variables = teacher.init(rng, images, train=False)
    taught = live(frozen_state(teacher, variables))
    view = observe(taught, unlabelled(images), method.teacher_taps)
    head = teacher_head(taught)
    state = create_state(
      student,
      method,
      make_optimizer("sgd", "constant", 1),
      rng=rng,
      images=images,
      teacher=view,
      learning_rate=0.0,
      head=head,
    )
    labels = jnp.zeros(EXAMPLES, jnp.int32)
    batch = Batch(images, labels, jnp.ones(EXAMPLES, bool), index, index)
    return take_step(state, method, batch, view, rng=rng, head=head)[1]["loss"]

  try:
    jax.eval_shape(step, jax.random.key(0))
  except (TypeError, ValueError) as error:
    raise UserError(str(error).split("\n")[0]) from error
