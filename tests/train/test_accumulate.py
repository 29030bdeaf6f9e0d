"""Pieces of a batch: the same step as the whole, or a refusal."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from kdjax.core.method import Outputs
from kdjax.core.task import Batch
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.optimizer import make_optimizer
from kdjax.train.schemes.mutual import mutual
from kdjax.train.schemes.scheme import in_pieces
from kdjax.train.state import create_state
from kdjax.train.step import take_step


class Normed(nn.Module):
  """The smallest network with batch normalisation."""

  @nn.compact
  def __call__(self, images, *, train=False):
    x = nn.BatchNorm(use_running_average=not train, name="norm")(images)
    return nn.Dense(3, name="head")(x.mean((1, 2)))


RNG = np.random.default_rng(1)
IMAGES = RNG.random((6, 4, 4, 3), np.float32)
INDEX = np.arange(6)
BATCH = Batch(
  IMAGES,
  np.array([0, 1, 2, 0, 1, -1]),
  np.array([1, 1, 1, 1, 0, 1], bool),  # pieces of different weight
  INDEX,
  INDEX,
)
TEACHER = Outputs(RNG.normal(size=(6, 3)).astype(np.float32), {})


def begin(*given, **options):
  return jax.jit(
    lambda key: create_state(
      *given,
      rng=key,
      task=classification(3),
      inputs=IMAGES[:1],
      learning_rate=0.1,
      **options,
    )
  )(jax.random.key(0))


def steps(model, method, pieces):
  """Two steps, on the whole batch or on pieces."""
  state = begin(
    make_model(model, classes=3),
    method,
    make_optimizer("adam", "cosine", 10),
    teacher=Outputs(TEACHER.answers[:1], {}),
  )
  step = jax.jit(take_step, static_argnames=("method", "pieces"))
  for number in range(2):
    state, metrics = step(
      state, method, BATCH, TEACHER, rng=jax.random.key(number), pieces=pieces
    )
  return state, metrics


def test_pieces_are_the_whole_batch():
  """Dropout, padding, hidden labels, the optimiser's count and the metrics."""
  method = make_objective("kd")
  model = "mlp(5, dropout=0.5)"
  want, got = (steps(model, method, pieces) for pieces in (1, 3))
  for one, other in zip(*map(jax.tree.leaves, (want, got)), strict=True):
    np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_batch_norm_remembers_the_average_of_the_pieces():
  """By hand: the mean of what is remembered of each piece alone."""
  method = make_objective("hard")
  state = begin(
    Normed(), method, make_optimizer("sgd", "constant", 10), teacher=None
  )
  whole = BATCH._replace(weight=np.ones(6, bool))
  step = jax.jit(take_step, static_argnames=("method", "pieces"))
  got, _ = step(state, method, whole, None, rng=jax.random.key(0), pieces=2)
  halves = [
    step(
      state,
      method,
      jax.tree.map(lambda x, cut=cut: x[cut], whole),
      None,
      rng=jax.random.key(0),
    )[0].collections["batch_stats"]["norm"]
    for cut in (slice(0, 3), slice(3, 6))
  ]
  want = jax.tree.map(lambda x, y: (x + y) / 2, *jax.device_get(halves))
  for one, other in zip(
    jax.tree.leaves(want),
    jax.tree.leaves(got.collections["batch_stats"]["norm"]),
    strict=True,
  ):
    np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("method", "options", "message"),
  [
    ("sp", {"pieces": 2}, "whole batch"),
    ("kd", {"pieces": 2, "gradient_metrics": True}, "whole batch"),
    ("kd", {"pieces": 4}, "6 examples cannot be cut into 4"),
  ],
)
def test_what_cannot_be_cut_is_refused(method, options, message):
  method = make_objective(method)
  state = begin(
    make_model("mlp(5)", classes=3),
    make_objective("kd"),
    make_optimizer("sgd", "constant", 10),
    teacher=Outputs(TEACHER.answers[:1], {}),
  )
  with pytest.raises(ValueError, match=message):
    take_step(state, method, BATCH, TEACHER, rng=jax.random.key(0), **options)


def test_peers_see_whole_batches():
  with pytest.raises(ValueError, match="together"):
    in_pieces(mutual(), 2)
