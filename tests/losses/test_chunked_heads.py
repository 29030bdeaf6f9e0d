"""A head that lies as a table of classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.losses import chunked
from kdjax.losses.chunked.heads import first_of


def arrays():
  keys = jax.random.split(jax.random.key(0), 4)
  shapes = ((12, 6), (20, 6), (12, 5), (20, 5))
  return [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(
  "chunk_size", [pytest.param(None, marks=pytest.mark.slow), 4]
)
@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jensen_shannon"])
def test_it_is_the_head_that_it_is_the_transpose_of(name, chunk_size):
  hidden, table, teacher_hidden, teacher_table = arrays()
  labels, bias = jnp.arange(12), jnp.linspace(-1.0, 1.0, 20)

  def loss(hidden, table, bias, as_head):
    return getattr(chunked, name)(
      hidden,
      as_head(table),
      teacher_hidden,
      as_head(teacher_table),
      labels=labels,
      student_bias=bias,
      chunk_size=chunk_size,
    ).loss

  expected, found = (
    jax.value_and_grad(loss, (0, 1, 2))(hidden, table, bias, as_head)
    for as_head in (jnp.transpose, chunked.ByClass)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    found,
    expected,
  )


def test_labels_alone_and_the_top_class():
  hidden, table, *_ = arrays()
  head, labels = chunked.ByClass(table), jnp.arange(12)
  found = chunked.cross_entropy(hidden, head, labels)
  expected = chunked.cross_entropy(hidden, table.T, labels)
  np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)
  np.testing.assert_array_equal(
    chunked.top_class(hidden, head), jnp.argmax(hidden @ table.T, axis=-1)
  )
  assert first_of(head, 7).shape == (6, 7)
