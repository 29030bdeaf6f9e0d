"""Labels, predictions and weights of large vocabularies, from hidden states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kdjax.losses import chunked

RNG = np.random.default_rng(0)
HIDDEN, HEAD, BIAS, TEACHER_HIDDEN, TEACHER_HEAD = (
  jnp.asarray(RNG.normal(size=shape), jnp.float32)
  for shape in ((3, 4, 6), (6, 32), (32,), (3, 4, 5), (5, 32))
)
LABELS = jnp.asarray(RNG.integers(-1, 33, (3, 4)))
MASK = jnp.asarray(RNG.random((3, 4)) > 0.2)


@jax.jit
@functools.partial(jax.value_and_grad, argnums=(0, 1, 2))
def by_hand(hidden, head, bias):
  """Sum of - log q over the tokens that count and have a label."""
  log_q = jax.nn.log_softmax(hidden @ head + bias[None, None])
  place = jnp.clip(LABELS, 0, 31)[..., None]
  own = jnp.take_along_axis(log_q, place, axis=-1)[..., 0]
  return -jnp.sum(jnp.where(MASK & (place[..., 0] == LABELS), own, 0.0))


@pytest.mark.parametrize("chunk_size", [5, None])
def test_labels_alone(chunk_size):
  def loss(*arrays):
    hidden, head, bias = arrays
    totals = chunked.cross_entropy(
      hidden, head, LABELS, bias=bias, mask=MASK, chunk_size=chunk_size
    )
    return totals.loss, totals

  arrays = (HIDDEN, HEAD, BIAS)
  slope = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))
  got, totals = slope(*arrays)
  want, want_slope = by_hand(*arrays)
  np.testing.assert_allclose(totals.loss, want, rtol=1e-6)
  np.testing.assert_allclose(totals.cross_entropy, want, rtol=1e-6)
  assert int(totals.tokens) == MASK.sum() and float(totals.divergence) == 0
  assert int(totals.labelled) == (MASK & (LABELS >= 0) & (LABELS < 32)).sum()
  for x, y in zip(got, want_slope, strict=True):
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_labels_of_a_vocabulary_in_shards():
  def run(hidden, head, bias, axis_name=None):
    return chunked.cross_entropy(
      hidden, head, LABELS, bias=bias, mask=MASK, axis_name=axis_name
    )

  mesh = jax.make_mesh((4,), ("v",), axis_types=(jax.sharding.AxisType.Auto,))
  spread = jax.shard_map(
    lambda *arrays: run(*arrays, axis_name="v"),
    mesh=mesh,
    in_specs=(P(), P(None, "v"), P("v")),
    out_specs=P(),
  )
  arrays = (HIDDEN, HEAD, BIAS)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
    *jax.jit(lambda *x: (spread(*x), run(*x)))(*arrays),
  )


@pytest.mark.parametrize("chunk_size", [5, None])
def test_predictions(chunk_size):
  got = chunked.top_class(HIDDEN, HEAD, bias=BIAS, chunk_size=chunk_size)
  logits = np.asarray(HIDDEN) @ np.asarray(HEAD) + np.asarray(BIAS)
  want = logits.argmax(-1)
  np.testing.assert_array_equal(got, want)
  assert chunked.top_class(jnp.zeros((0, 6)), HEAD).shape == (0,)


@jax.jit
@functools.partial(jax.value_and_grad, has_aux=True)
def weighed(hidden, weight, label_weight):
  totals = chunked.kd(
    hidden, HEAD, TEACHER_HIDDEN, TEACHER_HEAD, mask=MASK, labels=LABELS,
    label_weight=label_weight, divergence_weight=weight,
  )  # fmt: skip
  return totals.loss, totals


@pytest.mark.parametrize("weight", [0.0, 0.25, jnp.float32(2.0)])
def test_a_divergence_has_a_weight(weight):
  (value, totals), got = weighed(HIDDEN, weight, 0.5)
  np.testing.assert_allclose(
    value, weight * totals.divergence + 0.5 * totals.cross_entropy, rtol=1e-6
  )
  of_both = [
    weighed(HIDDEN, *weights)[1] for weights in ((1.0, 0.0), (0.0, 1.0))
  ]
  np.testing.assert_allclose(
    got, weight * of_both[0] + 0.5 * of_both[1], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize(
  ("call", "says"),
  [
    (
      lambda: chunked.cross_entropy(HIDDEN, HEAD[1:], LABELS),
      "student must be",
    ),
    (lambda: chunked.cross_entropy(HIDDEN, HEAD, LABELS[1:]), "labels must"),
    (lambda: chunked.cross_entropy(HIDDEN, HEAD[:, :1], LABELS), "two logits"),
    (lambda: chunked.top_class(HIDDEN, HEAD, chunk_size=0), "chunk_size must"),
    (
      lambda: chunked.kd(
        HIDDEN, HEAD, TEACHER_HIDDEN, TEACHER_HEAD, divergence_weight=-1.0
      ),
      "divergence_weight must",
    ),
  ],
)
def test_what_does_not_fit_is_refused(call, says):
  with pytest.raises(ValueError, match=rf"^chunked\.\w+: .*{says}"):
    call()
