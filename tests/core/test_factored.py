"""Programs are stopped short of the product that ends them, and no other."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import kdjax
from kdjax.core.factored import (
  Factored,
  as_logits,
  factored,
  first_classes,
  matrix_of,
  over_rows,
)

V, D = 12, 4
TOKENS = np.array([[1, 2, 3], [4, 5, 6]])


class Tied(nn.Module):
  cap: float | None = None

  @nn.compact
  def __call__(self, tokens):
    table = nn.Embed(V, D)
    logits = table.attend(jnp.tanh(table(tokens)))
    return (
      logits if self.cap is None else self.cap * jnp.tanh(logits / self.cap)
    )


class TiedNnx(nnx.Module):
  def __init__(self, rngs):
    self.table = nnx.Embed(V, D, rngs=rngs)

  def __call__(self, tokens):
    return self.table.attend(jnp.tanh(self.table(tokens)))


def linen(module):
  network = kdjax.from_linen(module)
  return network, jax.jit(network.init)(jax.random.key(0), TOKENS)


def by_hand(form, lie=lambda logits: logits):
  def apply(variables, inputs, *, train, rngs):
    table = variables["table"]
    states = table[inputs]
    return lie(jnp.einsum(form, states, states if "s" in form else table))

  table = jax.random.normal(jax.random.key(0), (V, D))
  network = kdjax.from_apply(apply)
  return network, network.collections({"table": table})


def laid_out(logits):
  mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
  where = NamedSharding(mesh, PartitionSpec("data"))
  return jax.lax.with_sharding_constraint(logits, where)


NETWORKS = {
  "linen, tied": lambda: linen(Tied()),
  "linen, with bias": lambda: linen(
    nn.Sequential(
      [nn.Embed(V, D), nn.Dense(V, bias_init=nn.initializers.normal())]
    )
  ),
  "linen, narrow": lambda: linen(
    nn.Sequential([nn.Embed(V, D), nn.Dense(V, dtype=jnp.bfloat16)])
  ),
  "nnx, tied": lambda: kdjax.from_nnx(TiedNnx(nnx.Rngs(0))),
  "nnx, with bias": lambda: kdjax.from_nnx(
    nnx.Sequential(
      nnx.Embed(V, D, rngs=nnx.Rngs(0)), nnx.Linear(D, V, rngs=nnx.Rngs(1))
    )
  ),
  "a function": lambda: by_hand("btd,vd->btv"),
  "a function, laid out": lambda: by_hand("btd,vd->btv", laid_out),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_hidden_states_and_a_matrix_are_the_logits(name):
  network, variables = NETWORKS[name]()

  def answer(variables, tokens):
    return network.apply(variables, tokens)[0], jnp.sum(tokens)

  def loss(variables, least):
    answers, total = factored(answer, least)(variables, TOKENS)
    return jnp.sum(jnp.sin(as_logits(answers).astype(jnp.float32))), (
      answers,
      total,
    )

  slope = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
  (got, (answers, total)), (want, (logits, _)) = (
    slope(variables, least) for least in (V, None)
  )
  assert isinstance(answers, Factored) and answers.hidden.shape == (2, 3, D)
  assert answers.shape == logits.shape == (2, 3, V) and int(total) == 21
  within = 6e-2 if name == "linen, narrow" else 1e-6
  np.testing.assert_allclose(
    as_logits(answers), logits.astype(jnp.float32), atol=within
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=within), got, want
  )


@pytest.mark.parametrize(
  ("make", "least"),
  [
    # What comes behind the product is not left out.
    (lambda: linen(Tied(cap=3.0)), V),
    (lambda: linen(nn.Sequential([nn.Embed(V, D), nn.Dense(V), nn.relu])), V),
    # Looked up, and no product.
    (lambda: linen(nn.Embed(V, V)), V),
    # A product of two things that are no matrix.
    (lambda: by_hand("btd,bsd->bts"), 1),
    (lambda: linen(Tied()), V + 1),
  ],
)
def test_other_answers_stay_as_they_are(make, least):
  network, variables = make()
  answers, rest = factored(lambda *x: (network.apply(*x)[0], ()), least)(
    variables, TOKENS
  )
  np.testing.assert_array_equal(answers, network.apply(variables, TOKENS)[0])
  assert rest == ()


def test_rows_and_classes_of_a_product():
  answers = Factored(
    jnp.arange(12.0).reshape(6, 2), jnp.ones((2, 5)), jnp.arange(5.0)
  )
  some = over_rows(lambda x: x[1:3], {"answers": answers, "other": jnp.ones(6)})
  assert some["other"].shape == (2,)
  np.testing.assert_array_equal(some["answers"].logits(), answers.logits()[1:3])
  few = first_classes(answers, 3)
  np.testing.assert_array_equal(few.logits(), answers.logits()[:, :3])
  assert first_classes(answers, 5) is answers
  np.testing.assert_array_equal(
    first_classes(answers.logits(), 3), few.logits()
  )


@pytest.mark.parametrize(
  "product",
  [lambda x, table: x @ table.T, lambda x, table: jnp.inner(x, table)],
)
def test_a_table_that_is_used_twice_is_not_transposed(product):
  table, x = jnp.arange(12.0).reshape(4, 3), jnp.ones((2, 3))
  run = factored(lambda table, x: (product(x, table), None), 3)
  answers, _ = run(table, x)
  np.testing.assert_array_equal(answers.kernel.table, table)
  np.testing.assert_array_equal(answers.logits(), x @ table.T)
  np.testing.assert_array_equal(matrix_of(answers.kernel), table.T)
  assert "transpose" not in str(jax.make_jaxpr(run)(table, x))
