"""The shuffle, and the block that activates later than the paper's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models.shufflenet import BlockV1, BlockV2, Stage, channel_shuffle


@pytest.mark.parametrize(
  ("groups", "expected"),
  [
    (1, [0, 1, 2, 3, 4, 5]),
    (2, [0, 3, 1, 4, 2, 5]),
    (3, [0, 2, 4, 1, 3, 5]),
    (6, [0, 1, 2, 3, 4, 5]),
  ],
)
def test_shuffle(groups, expected):
  x = jnp.arange(6.0).reshape(1, 1, 1, 6)
  shuffled = channel_shuffle(x, groups=groups)
  np.testing.assert_array_equal(shuffled.ravel(), expected)


@pytest.mark.slow
def test_first_block_of_v1_keeps_the_pooled_input():
  """Beside the new channels stand the means of 3 x 3, zeros of the rim in."""
  x = jnp.ones((1, 4, 4, 24))
  y, _ = BlockV1(36, 2).init_with_output(jax.random.key(0), x, train=False)
  assert y.shape == (1, 2, 2, 36)
  np.testing.assert_allclose(
    y[0, :, :, -1], [[4 / 9, 6 / 9], [6 / 9, 1.0]], rtol=1e-6
  )


def test_v2_activates_one_half_as_the_paper_does():
  """relu(shuffle(kept, new)) is shuffle(kept, relu(new))."""
  x = jnp.maximum(jax.random.normal(jax.random.key(1), (2, 4, 4, 8)), 0)
  stage = Stage(BlockV2, 8, 2)

  @jax.jit
  def run(key, x):
    return stage.apply(
      stage.init(key, x, train=False),
      x,
      train=False,
      capture_intermediates=True,
      mutable=["intermediates"],
    )

  made, seen = run(jax.random.key(0), x)
  seen = seen["intermediates"]
  kept, _ = jnp.split(nn.relu(seen["block_0"]["__call__"][0]), 2, axis=-1)
  new = nn.relu(seen["block_1"]["norm_2"]["__call__"][0])
  expected = channel_shuffle(jnp.concatenate([kept, new], -1), groups=2)
  np.testing.assert_array_equal(made, expected)
  assert np.any(made != seen["block_1"]["__call__"][0])
