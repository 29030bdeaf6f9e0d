"""Methods on networks of linen and nnx: the same loss and gradient.

Of methods that ask the same of their networks one is enough: what they make of it
is the same code for both.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import method_twins
import numpy as np
import pytest
from networks import make_method, one_of_each_kind

from kdjax.core.errors import UserError
from kdjax.methods import MAKERS
from kdjax.methods.registry import READS
from kdjax.tasks import classification, multilabel, regression
from kdjax.train.objective import objective
from kdjax.train.teacher import live_teacher

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "library.md"
TASK = classification(4)
BATCH = method_twins.batch()
make_pair = functools.cache(method_twins.make_pair)


# What a method needs of its networks, from the least to the most.
NEEDS = {
  "functions": "any, from_apply's included",
  "convolutional": "linen or nnx: `stage_0`, ... , `pool`, a linear `head`",
  "projected": "the same, and the student's `projector` in front of `pool`",
  "transformer": "linen or nnx: `stem`, `stage_0`, ... with `attention`, `norm`;"
  " for `deit` a `head_dist`",
}


def networks_of(pair, framework):
  if pair == "functions":
    return method_twins.make_functions()
  return make_pair(pair)[framework]


def asked(name):
  """The task and the batch of a method, of yes and no where it reads these alone."""
  if READS[name] == ("values",):
    targets = np.random.default_rng(0).normal(size=(len(BATCH["label"]), 4))
    return regression(4), BATCH | {"label": targets.astype(np.float32)}
  if READS[name] != ("binary",):
    return TASK, BATCH
  labels = np.arange(4 * len(BATCH["label"])).reshape(-1, 4) % 3 > 0
  return multilabel(4), BATCH | {"label": labels}


def started(name, pair, framework):
  """The objective of a method, the teacher, parameters and state."""
  (teacher, known), (student, variables) = networks_of(pair, framework)
  target = objective(make_method(name), student, asked(name)[0])
  teacher = live_teacher(teacher, known)
  params, state = jax.jit(target.init)(
    jax.random.key(0), variables, teacher, asked(name)[1]
  )
  return target, teacher, params, state


def starts(name, pair):
  networks_of(pair, "linen")  # made once, outside of what is only traced

  def start():
    target, *arrays = started(name, pair, "linen")
    return loss_of(target, asked(name)[1])(*arrays)

  try:
    jax.eval_shape(start)
  except UserError:
    return False
  return True


@functools.cache
def pair_for(name):
  """The simplest pair of networks that a method can be used with."""
  return next(pair for pair in NEEDS if starts(name, pair))


def loss_of(target, batch):
  def loss(teacher, params, state):
    return target.loss(
      params, state, teacher, batch, step=50, key=jax.random.key(1)
    )

  return loss


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each_kind())
def test_the_same_loss_and_gradient(name):
  pair, results = pair_for(name), {}
  pair = "convolutional" if pair == "functions" else pair
  for framework in ("linen", "nnx"):
    target, *arrays = started(name, pair, framework)
    step = jax.value_and_grad(
      loss_of(target, asked(name)[1]), argnums=1, has_aux=True
    )
    results[framework] = jax.jit(step)(*arrays)
  (value, (state, metrics)), grads = results["linen"]
  assert jnp.isfinite(value)
  assert any(jnp.any(x != 0) for x in jax.tree.leaves(grads["network"]))
  jax.tree.map(check_close, ((value, (state, metrics)), grads), results["nnx"])


def check_close(a, b):
  if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_page_says_which_method_runs_where():
  lines = ["| networks | methods |", "| :-- | :-- |"]
  for pair, words in NEEDS.items():
    names = [f"`{name}`" for name in sorted(MAKERS) if pair_for(name) == pair]
    lines.append(f"| {words} | {', '.join(names)} |")
  assert "\n".join(lines) in PAGE.read_text()
