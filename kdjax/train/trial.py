"""Whether a method can train one network on another, found out by shapes alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax.errors import UserError
from kdjax.method import Method
from kdjax.train.feed import Feed
from kdjax.train.learner import ALONE, Learner
from kdjax.train.optimizer import make_optimizer
from kdjax.train.state import frozen_state
from kdjax.train.steps import Batch, unlabelled
from kdjax.train.teacher import Teacher, live, observe, teacher_head

# Enough for methods that relate examples.
EXAMPLES = 4


def try_step(
  student: nn.Module,
  teacher: nn.Module | Teacher | None,
  method: Method,
  sample: jax.Array,
  learner: Learner = ALONE,
) -> None:
  """Traces a whole step without computing anything.

  Args:
    student: linen module called as `student(images, train=...)`.
    teacher: likewise, or what is left of one; None where nobody teaches but the
      learner itself.
    method: what is to train the student.
    sample: (1, H, W, C) an image, for its shape and type.
    learner: who learns from whom.

  Raises:
    UserError: if a tap is not there, or the method cannot use what it gets.

  Example:
    >>> from kdjax.methods import make_objective
    >>> from kdjax.models import make_model
    >>> mlp, kd = make_model("mlp(4)", classes=3), make_objective("kd")
    >>> try_step(mlp, mlp, kd, jnp.zeros((1, 2, 2, 1)))
  """

  def step(rng):
    index = _shown(learner)
    images = jnp.zeros((len(index), *sample.shape[1:]), sample.dtype)
    taught = teacher
    if not isinstance(teacher, Teacher | None):
      variables = teacher.init(rng, images, train=False)
      taught = live(frozen_state(teacher, variables))
    view = observe(taught, unlabelled(images), method.teacher_taps)
    head = teacher_head(taught)
    state = learner.create(
      student,
      method,
      make_optimizer("sgd", "constant", 1),
      rng=rng,
      images=images,
      teacher=view,
      learning_rate=0.0,
      head=head,
    )
    labels, counts = jnp.zeros_like(index), jnp.ones(len(index), bool)
    batch = Batch(images, labels, counts, index, index)
    _, metrics = learner.step(state, method, batch, view, rng=rng, head=head)
    return metrics["loss"]

  try:
    jax.eval_shape(step, jax.random.key(0))
  except (TypeError, ValueError) as error:
    raise UserError(str(error).split("\n")[0]) from error


def _shown(learner: Learner) -> jax.Array:
  """The examples of a batch, as the learner is shown them."""
  index = np.arange(EXAMPLES, dtype=np.int32)
  feed = Feed(lambda *_: (index[None], np.ones((1, EXAMPLES))), 1, None, None)
  feed = learner.shown(feed) if learner.shown else feed
  return jnp.asarray(feed.batches(0, 0, 1)[0][0])
