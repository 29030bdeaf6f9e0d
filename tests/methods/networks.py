"""Tiny pairs of real networks, and what a method sees of them."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import taps
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import MAKERS
from kdjax.methods.registry import READS
from kdjax.models import make_model
from kdjax.taps.calling import linear_layer
from kdjax.taps.grammar import covers_path, parse_tap

EXAMPLES, CLASSES, BATCH, STEPS = 40, 4, 6, 100
SHAPE = (8, 8, 1)
NO_LABELS = [-100, -1, CLASSES, 2**31 - 1]

# teacher, student: of different widths and depths
PAIRS = {
  "mlp": ("mlp(12, 10)", "mlp(8)"),
  "lenet": ("lenet(8, 6, hidden=12)", "lenet(4, 5, hidden=7)"),
  "vit": (
    "vit(patch=4, width=16, depth=4, heads=4)",
    "vit(patch=4, width=8, depth=2, heads=4)",
  ),
  "deit": (
    "vit(patch=4, width=16, depth=2, heads=2)",
    "vit(patch=4, width=8, depth=2, heads=2, distilled=True)",
  ),
  "resnet": ("cifar_resnet(8, (4, 6, 8, 12))", "cifar_resnet(8, (4, 4, 6, 8))"),
  "projected": (
    "cifar_resnet(8, (4, 6, 8, 12))",
    "projected(cifar_resnet(8, (4, 4, 6, 8)), width=12)",
  ),
}


def make_method(name):
  """The method with its defaults and what the runner would tell it."""
  known = {"examples": EXAMPLES, "classes": CLASSES, "steps": STEPS}
  known["prior"] = tuple(range(1, CLASSES + 1))
  taken = inspect.signature(MAKERS[name]).parameters
  return MAKERS[name](**{key: known[key] for key in known.keys() & taken})


def one_of_each_kind(names=MAKERS):
  """The first of those methods that ask the same of their networks."""
  found = {}
  for name in sorted(names):
    method = make_method(name)
    asked = method.student_taps, method.teacher_taps, method.needs_teacher
    found.setdefault((*asked, READS[name]), name)
  return [*found.values()]


@functools.cache
def inputs_of(pair):
  """All that any method asks of a pair of networks, in the middle of training.

  Returns the inputs and the student's parameters.
  """
  rng = np.random.default_rng(0)
  teacher, student = (_run(model, i) for i, model in enumerate(PAIRS[pair]))
  inputs = Inputs(
    student=student[0],
    teacher=teacher[0],
    labels=rng.integers(0, CLASSES, BATCH).astype(np.int32),
    step=jnp.int32(STEPS // 2),
    mask=np.ones(BATCH, bool),
    index=rng.permutation(EXAMPLES)[:BATCH].astype(np.int32),
    head=linear_layer(teacher[1], "head"),
    student_head=linear_layer(student[1], "head"),
  )
  return inputs, student[1]


@functools.cache
def _run(model, seed):
  """A network's view of some images, and its parameters."""
  rng = np.random.default_rng(seed)
  images = jnp.asarray(
    np.random.default_rng(7).uniform(size=(BATCH, *SHAPE)), jnp.float32
  )
  network = make_model(model, classes=CLASSES)
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)
  variables = jax.tree.map(lambda x: _draw(rng, x.shape), shapes)
  rows = taps.describe(network.apply, shapes, images)
  wanted = tuple(tap for tap in _asked() if _reached(rows, tap))
  shown = jax.jit(taps.tapped(network.apply, wanted))
  return Outputs(*shown(variables, images)), variables["params"]


def seen_by(name, pair):
  """The same with labels of the kind that a method reads, and none of them."""
  inputs, _ = inputs_of(pair)
  if READS[name] == ("binary",):
    labels = np.random.default_rng(1).integers(-1, 2, (BATCH, CLASSES))
    return inputs._replace(labels=labels.astype(np.int32)), [[-1], [-100]] * 2
  if READS[name] != ("values",):
    return inputs, NO_LABELS
  rng = np.random.default_rng(1)
  # The teacher is nearer to them than the student.
  noise = 0.1 * rng.normal(size=inputs.teacher.answers.shape)
  targets = np.float32(inputs.teacher.answers + noise)
  return inputs._replace(labels=targets), [[np.nan], [np.inf]] * 2


def pairs_for(name):
  """The pairs that a method can be used with, looked for as they are taken."""
  return (pair for pair in PAIRS if _fits(name, pair))


@functools.cache
def _fits(name, pair):
  method = make_method(name)
  (inputs, _), network = seen_by(name, pair), inputs_of(pair)[1]

  def start(rng):
    params, state = method.init(rng, inputs)
    if method.adopt is not None:
      method.adopt(network, inputs)
    return method.apply(params, state, inputs)

  try:
    jax.eval_shape(start, jax.random.key(0))
  except UserError:
    return False
  return True


def _draw(rng, shape):
  """Values of a trained network's size, by numpy: there is nothing to compile."""
  if len(shape) < 2:
    return jnp.asarray(rng.uniform(0.5, 1.5, shape), jnp.float32)
  scale = np.sqrt(2.0 / np.prod(shape[:-1]))
  return jnp.asarray(scale * rng.normal(size=shape), jnp.float32)


def drawn(init, inputs):
  """What `init` gives, with kernels drawn by numpy: drawing takes compiling."""
  rng = np.random.default_rng(0)
  shapes, state = jax.eval_shape(init, jax.random.key(0), inputs)
  if jax.tree.leaves(state):
    state = jax.jit(lambda key: init(key, inputs)[1])(jax.random.key(0))

  def draw(path, x):
    first = {"['bias']": 0, "['scale']": 1}.get(str(path[-1]))
    if first is None:
      return _draw(rng, x.shape)
    return jnp.asarray(np.full(x.shape, first, x.dtype))

  return jax.tree.map_with_path(draw, shapes), state


@functools.cache
def _asked():
  methods = [make_method(name) for name in MAKERS]
  return tuple(
    dict.fromkeys(
      tap
      for method in methods
      for tap in (*method.student_taps, *method.teacher_taps)
    )
  )


def _reached(rows, tap):
  """Whether there is such a module; stock attention alone has weights."""
  wanted = parse_tap(tap)
  found = [parse_tap(row.tap) for row in rows]
  return any(
    covers_path(wanted.path, one.path)
    and (wanted.site == one.site or wanted.site == "in")
    for one in found
  )
