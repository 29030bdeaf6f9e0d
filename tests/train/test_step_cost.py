"""What a step computes: of the teacher, nothing that nobody looks at."""

import jax
import jax.numpy as jnp

from kdjax.core.task import batch_of
from kdjax.core.teacher import observe
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import full_precision
from kdjax.train.state import create_state
from kdjax.train.step import take_step
from kdjax.train.teacher import live_teacher

BATCH, WIDTH = 8, 32


def operations(tap: str, depth: int) -> float:
  """What a compiled step computes, that looks at one tap of a deep teacher."""
  images = jnp.ones((BATCH, 4, 4, 1))
  batch = batch_of(images)._replace(targets=jnp.zeros(BATCH, jnp.int32))
  method = make_objective(
    f"ce:1 + sp(student_tap='stage_0', teacher_tap='{tap}'):1"
  )
  network = make_model(f"mlp({', '.join([str(WIDTH)] * depth)})", classes=WIDTH)
  known = jax.eval_shape(network.init, jax.random.key(0), images)
  student = make_model("mlp(4)", classes=2)

  def state(known):
    teacher = live_teacher(full_precision(network), known)
    return create_state(
      student,
      method,
      make_optimizer("sgd", "constant", 1),
      rng=jax.random.key(1),
      task=classification(2),
      inputs=images,
      teacher=observe(teacher, batch, method.teacher_taps),
      learning_rate=jnp.float32(0.1),
    )

  def step(state, known):
    teacher = live_teacher(full_precision(network), known)
    outputs = observe(teacher, batch, method.teacher_taps)
    return take_step(state, method, batch, outputs, rng=jax.random.key(2))

  shapes = jax.eval_shape(state, known)
  compiled = jax.jit(step).lower(shapes, known).compile()
  return compiled.cost_analysis()["flops"]


def test_layers_that_nobody_looks_at_cost_nothing():
  first, alone = operations("stage_0", 4), operations("stage_0", 1)
  assert first == alone
  # Two layers further: their products, and a little for biases and ReLU.
  layer = 2 * BATCH * WIDTH**2
  further = operations("stage_2", 4) - first
  assert 2 * layer <= further < 2.2 * layer
