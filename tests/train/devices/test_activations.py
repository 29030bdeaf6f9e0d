"""On a mesh that cuts weights too, examples stay where they are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from benchmarks import hlo
from kdjax.runner.pipeline.partition import read_partition
from kdjax.train.devices import activations
from kdjax.train.devices.rules import layout

WIDTH, WORDS, TEXTS = 32, 64, 16


class Network(nn.Module):
  @nn.compact
  def __call__(self, tokens):
    x = nn.Embed(WORDS, WIDTH, name="table")(tokens)
    x = x + nn.relu(nn.Dense(WIDTH, name="up")(x))
    return nn.Dense(WIDTH, name="down")(x)


def collectives_of_a_gradient(rules, length):
  """What devices tell each other for a gradient, weights cut by rules."""
  partition = read_partition("data=8", rules, jax.devices()[:8])
  network = Network()
  tokens = jax.ShapeDtypeStruct((TEXTS, length), jnp.int32)
  variables = jax.eval_shape(network.init, jax.random.key(0), tokens)
  lies = layout(variables, partition)
  rows = NamedSharding(partition.mesh, partition.batch)
  arguments = jax.tree.map(
    lambda x, how: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=how),
    (variables, tokens),
    (lies, rows),
  )

  def gradient(variables, tokens):
    with activations.over(partition):
      return jax.grad(
        lambda variables: jnp.sum(network.apply(variables, tokens) ** 2)
      )(variables)

  run = jax.jit(gradient, out_shardings=lies)
  text = run.lower(*arguments).compile().as_text()
  return hlo.collectives(text)


def test_weights_come_together_and_activations_do_not():
  """Weights are as many bytes however long texts are."""
  short, long = (
    collectives_of_a_gradient("fsdp", length) for length in (8, 32)
  )

  def size(found, kinds):
    return sum(one.size * one.times for one in found if one.kind in kinds)

  weights = 2 * WIDTH * WIDTH * 4
  for found in short, long:
    # Ids of all examples are told to all; they are a fraction of one feature.
    gathered = size(found, ("all-gather",))
    assert weights <= gathered <= 1.5 * weights + TEXTS * 32 * 4
  assert size(short, ("all-reduce",)) == size(long, ("all-reduce",))


@pytest.mark.parametrize("sizes", [(8,), (2, 4)])
def test_a_mesh_is_in_use_within_alone(sizes):
  names = ("data", "model")[: len(sizes)]
  mesh = ",".join(f"{name}={n}" for name, n in zip(names, sizes, strict=True))
  partition = read_partition(mesh, None, jax.devices()[: int(np.prod(sizes))])
  with activations.over(partition):
    assert jax.sharding.get_abstract_mesh().axis_names == names
  assert jax.sharding.get_abstract_mesh().empty
