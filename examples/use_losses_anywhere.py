"""The losses in your own loop: plain JAX, and flax.nnx. No other part of kdjax.

  python -m examples.use_losses_anywhere

A network of 64 units teaches one of 8 to read the 1 797 digits that ship with
scikit-learn, with `dkd` and `similarity_preserving`. Takes seconds on a CPU.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from kdjax import losses


def digits():
  """Returns pixels and labels, 1 500 to learn from, then 297 to test on."""
  data = load_digits()
  order = np.random.default_rng(0).permutation(len(data.target))
  pixels = jnp.asarray(data.data[order] / 16, jnp.float32)
  labels = jnp.asarray(data.target[order], jnp.int32)
  return (pixels[:1500], labels[:1500]), (pixels[1500:], labels[1500:])


def objective(student, teacher, labels):
  """Labels, the teacher's classes, and which examples it finds alike."""
  (logits, features), (teacher_logits, teacher_features) = student, teacher
  own = -jnp.take_along_axis(
    jax.nn.log_softmax(logits), labels[:, None], axis=-1
  )
  if teacher_logits is None:
    return own.mean()
  classes = losses.dkd(logits, teacher_logits, labels, beta=2.0).mean()
  alike = losses.similarity_preserving(features, teacher_features)
  return own.mean() + classes + 100.0 * alike


NOBODY = (None, None)


# Plain JAX: 40 lines.
def init(seed, hidden):
  first, second = jax.random.split(jax.random.key(seed))
  return {
    "in": jax.random.normal(first, (64, hidden)) / 8,
    "out": jax.random.normal(second, (hidden, 10)) / hidden**0.5,
  }


def forward(params, pixels):
  features = jax.nn.relu(pixels @ params["in"])
  return features @ params["out"], features


@jax.jit
def step(params, teacher_params, pixels, labels, rate=0.1):
  taught = teacher_params is not None
  teacher = forward(teacher_params, pixels) if taught else NOBODY

  def loss(params):
    return objective(forward(params, pixels), teacher, labels)

  value, grads = jax.value_and_grad(loss)(params)
  return jax.tree.map(lambda p, g: p - rate * g, params, grads), value


def fit(params, teacher_params, data, steps):
  pixels, labels = data
  random, value = np.random.default_rng(1), None
  for _ in range(steps):
    rows = random.integers(0, len(labels), size=100)
    batch = pixels[rows], labels[rows]
    params, value = step(params, teacher_params, *batch)
  return params, float(value)


def plain(steps):
  """Returns the student's test accuracy and its last loss."""
  train, (pixels, labels) = digits()
  teacher, _ = fit(init(0, 64), None, train, steps)
  student, value = fit(init(1, 8), teacher, train, steps)
  predicted = jnp.argmax(forward(student, pixels)[0], axis=-1)
  return float(jnp.mean(predicted == labels)), value


# The same with flax.nnx and optax.
def with_nnx(steps):
  """Returns the student's test accuracy and its last loss."""
  import optax
  from flax import nnx

  class Network(nnx.Module):
    def __init__(self, hidden, rngs):
      self.first = nnx.Linear(64, hidden, use_bias=False, rngs=rngs)
      self.last = nnx.Linear(hidden, 10, use_bias=False, rngs=rngs)

    def __call__(self, pixels):
      features = nnx.relu(self.first(pixels))
      return self.last(features), features

  @functools.partial(nnx.jit, static_argnames="taught")
  def nnx_step(student, optimizer, teacher, pixels, labels, taught):
    seen = teacher(pixels) if taught else NOBODY

    def loss(student):
      return objective(student(pixels), seen, labels)

    value, grads = nnx.value_and_grad(loss)(student)
    optimizer.update(student, grads)
    return value

  (pixels, labels), (test_pixels, test_labels) = digits()
  teacher = Network(64, nnx.Rngs(0))
  student = Network(8, nnx.Rngs(1))
  for network, taught in ((teacher, False), (student, True)):
    optimizer = nnx.Optimizer(network, optax.sgd(0.1), wrt=nnx.Param)
    random = np.random.default_rng(1)
    for _ in range(steps):
      rows = random.integers(0, len(labels), size=100)
      batch = pixels[rows], labels[rows]
      value = nnx_step(network, optimizer, teacher, *batch, taught)
  predicted = jnp.argmax(student(test_pixels)[0], axis=-1)
  return float(jnp.mean(predicted == test_labels)), float(value)


def main(steps=1000):
  for name, run in (("plain JAX", plain), ("flax.nnx", with_nnx)):
    accuracy, value = run(steps)
    print(f"{name}: accuracy {accuracy:.3f}, last loss {value:.3f}")


if __name__ == "__main__":
  main()
