"""Networks in nnx do what the same networks do in linen."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import nnx_twins
import numpy as np
import optax
import pytest
from flax import nnx

import kdjax
from kdjax.core.errors import UserError
from kdjax.taps.network import describe, from_nnx
from kdjax.train.devices.batch_norm import over_the_batch
from kdjax.train.devices.dropout import by_example

TWINS = nnx_twins.TWINS
KEY = {"dropout": jax.random.key(7)}
WEIGHT = np.array([1, 1, 1, 1, 0, 1], bool)


def check_close(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), a, b
  )


def train(network, variables, inputs, taps, position):
  """The loss and gradient, and what else a forward pass in training gives."""

  def loss(params):
    given = {**variables, "params": params}
    with (
      nn.intercept_methods(by_example(position)),
      nn.intercept_methods(over_the_batch(WEIGHT)),
    ):
      outputs, features, moved = network.apply(
        given, inputs, taps=taps, train=True, rngs=KEY
      )
    return jnp.sum(outputs**2 * WEIGHT[:, None]), (outputs, features, moved)

  return jax.value_and_grad(loss, has_aux=True)(variables["params"])


@pytest.fixture(
  params=["mlp", "conv", "block", pytest.param("rnn", marks=pytest.mark.slow)]
)
def twins(request):
  return TWINS[request.param]


def test_the_same_loss_gradient_features_and_statistics(twins):
  network, other, variables = twins.start()
  inputs, position = twins.inputs(), jnp.arange(6)
  step = jax.jit(train, static_argnums=(0, 3))
  (loss, (outputs, features, moved)), grads = step(
    network, dict(variables), inputs, twins.taps, position
  )
  taps = tuple(map(twins.renamed, twins.taps))
  (loss_, (outputs_, features_, moved_)), grads_ = step(
    other, twins.linen_tree(variables), inputs, taps, position
  )
  check_close((loss, outputs), (loss_, outputs_))
  check_close([*map(features.get, twins.taps)], [*map(features_.get, taps)])
  check_close(twins.linen_tree(moved), moved_)
  check_close(twins.linen_tree(grads), grads_)


def test_evaluation_and_what_is_listed(twins):
  network, other, variables = twins.start()
  inputs = twins.inputs()
  outputs, _, same = network.apply(variables, inputs)
  assert same is variables
  check_close(outputs, other.apply(twins.linen_tree(variables), inputs)[0])
  head = network.classifier(variables)
  assert head["kernel"] is variables["params"]["head"]["kernel"]
  rows = {row.tap: row.shape for row in describe(network, variables, inputs)}
  made = jax.eval_shape(
    lambda given: network.apply(variables, given, taps=[*rows])[1], inputs
  )
  assert {tap: value.shape for tap, value in made.items()} == rows
  theirs = describe(other, twins.linen_tree(variables), inputs)
  theirs = {row.tap: row.shape for row in theirs}
  mine = {twins.renamed(tap): rows[tap] for tap in rows}
  assert theirs.items() <= mine.items() | {("rnn/cell", ())}


def test_a_mask_belongs_to_an_example():
  network, _, variables = TWINS["mlp"].start()
  inputs = TWINS["mlp"].inputs()
  order = jnp.array([2, 0, 1, 5, 4, 3])
  step = jax.jit(train, static_argnums=(0, 3))
  whole = step(network, dict(variables), inputs, (), jnp.arange(6))
  other = {"image": inputs["image"][order]}
  moved = step(network, dict(variables), other, (), order)
  check_close(whole[0][1][0][order], moved[0][1][0])


def test_variables_are_mapped_over():
  network, _, variables = TWINS["conv"].start()
  inputs = TWINS["conv"].inputs()
  two = jax.tree.map(lambda x: np.stack([x, 2 * np.asarray(x)]), variables)

  def apply(one):
    return network.apply(one, inputs, train=True, rngs=KEY)

  outputs, _, moved = jax.jit(jax.vmap(apply))(two)
  single, _, one = jax.jit(apply)(variables)
  check_close(outputs[0], single)
  check_close(jax.tree.map(lambda x: x[0], moved), one)


@pytest.mark.parametrize("native", [False, True])
def test_a_module_takes_back_what_was_learned(native):
  module = nnx_twins.NnxMLP(nnx.Rngs(0))
  network, variables = from_nnx(module)
  before = nnx.clone(module)
  _, _, moved = network.apply(
    jax.tree.map(lambda x: x + 1, variables), jnp.ones((2, 4)), train=True,
    rngs=KEY,
  )  # fmt: skip
  check_close(nnx.state(module, nnx.Param), nnx.state(before, nnx.Param))
  assert nnx.graphdef(module) == nnx.graphdef(before)
  nnx.update(module, network.native(dict(moved)) if native else moved)
  assert type(module.layers[1].kernel) is nnx.Param
  check_close(module.layers[1].kernel[...], before.layers[1].kernel[...] + 1)
  check_close(
    network.apply(nnx.state(module), jnp.ones((2, 4)))[0],
    network.apply(moved, jnp.ones((2, 4)))[0],
  )
  assert network.init(None, None) is variables
  del variables
  check_close(dict(network.init(None, None)), dict(moved))
  del module
  with pytest.raises(UserError, match="NnxMLP that from_nnx took is gone"):
    network.init(None, None)


@pytest.mark.parametrize(
  "place", [kdjax.jit, pytest.param(kdjax.pmap, marks=pytest.mark.slow)]
)
def test_a_student_of_nnx_learns_as_in_linen(place):
  module = nnx_twins.NnxConv(nnx.Rngs(0))
  student, start = from_nnx(module, classifier="head")
  teacher, known = from_nnx(nnx_twins.NnxConv(nnx.Rngs(1)))
  twin = kdjax.from_linen(TWINS["conv"].linen)
  task = kdjax.tasks.classification(3)
  batch = TWINS["conv"].inputs() | {"label": jnp.arange(6) % 3}
  teacher = kdjax.live_teacher(teacher, known)
  method = kdjax.make_method("kd:0.9 + ce:0.1", task=task)
  learned = []
  for network in (student, twin):
    placement = (
      kdjax.jit() if place is kdjax.jit else kdjax.pmap(jax.devices()[:2])
    )
    step = kdjax.make_step(
      kdjax.objective(method, network, task), optax.sgd(0.1), placement
    )
    state = step.init(jax.random.key(0), dict(start), teacher, batch)
    for _ in range(2):
      state, _ = step.step(state, teacher, batch)
    learned.append(step.variables(state))
  ours, theirs = learned
  check_close(dict(ours), theirs)
  nnx.update(module, ours)
  module.eval()
  check_close(
    module(batch["image"], training=False),
    student.apply(ours, batch["image"])[0],
  )
  assert not hasattr(module, "params")


def test_a_tree_of_arrays_learns():
  def apply(variables, x, *, train, rngs):
    return x @ variables[0] + variables[1][None]

  task = kdjax.tasks.classification(3)
  network = kdjax.from_apply(apply)
  step = kdjax.make_step(
    kdjax.objective(kdjax.make_method("ce", task=task), network, task),
    optax.sgd(0.1),
  )
  start = [jnp.zeros((4, 3)), jnp.zeros(3)]
  batch = {"image": jnp.ones((6, 4)), "label": jnp.arange(6) % 2}
  state = step.init(jax.random.key(0), start, None, batch)
  state, _ = step.step(state, None, batch)
  learned = step.variables(state)
  assert jax.tree.structure(learned) == jax.tree.structure(start)
  assert (learned[1][:2] > 0).all() and learned[1][2] < 0


class Odd(nnx.Module):
  """Jitted, with tied weights, layers without streams of their own, and keys."""

  def __init__(self, rngs):
    self.embed = nnx.Embed(7, 4, rngs=rngs)
    self.tied = self.embed
    self.drop = nnx.Dropout(0.5)
    self.constant = jnp.ones(4)
    self.count = nnx.Variable(jnp.zeros((), jnp.int32))

  @nnx.jit
  def __call__(self, tokens, rngs):
    self.count[...] += 1
    x = self.drop(self.embed(tokens)) * self.constant[None, None]
    noise = 0.0 if rngs is None else jax.random.normal(rngs.noise(), (7,))
    return self.tied.attend(x)[:, 0] + jnp.reshape(noise, (1, -1)), x


def test_other_modules_of_nnx():
  network, variables = from_nnx(
    Odd(nnx.Rngs(0)), call=lambda apply, variables, tokens, *, train, **kw: (
      apply(variables, tokens, **{"rngs": None, **kw})[0]
    )
  )  # fmt: skip
  assert jax.tree.map(jnp.shape, dict(variables)) == {
    "params": {"embed": {"embedding": (7, 4)}},
    "arrays": {"constant": (4,)},
    "Variable": {"count": ()},
  }
  tokens = jnp.array([[1, 2]])
  plain, _, same = network.apply(variables, tokens)
  for _ in range(2):
    keys = {"dropout": jax.random.key(0), "noise": jax.random.key(1)}
    noisy, features, moved = network.apply(
      variables, tokens, train=True, rngs=keys, taps=["embed", "drop"]
    )
    dropped = features["drop"] == 0
    assert dropped.any() and not dropped.all()
    assert moved["Variable"]["count"] == 1
  assert same["Variable"]["count"] == 0
  assert (plain != noisy).all()


def test_devices_share_a_batch_of_nnx():
  network, _, variables = TWINS["conv"].start()
  inputs = TWINS["conv"].inputs()["image"]

  def step(weight, inputs, axis_name=None):
    with nn.intercept_methods(over_the_batch(weight, axis_name)):
      return network.apply(variables, inputs, train=True, rngs=KEY)[::2]

  def split(x):
    return x.reshape(2, 3, *x.shape[1:])

  outputs, moved = jax.pmap(
    lambda *args: step(*args, axis_name="devices"), axis_name="devices"
  )(split(WEIGHT), split(inputs))
  whole, once = jax.jit(step)(WEIGHT, inputs)
  check_close(outputs.reshape(whole.shape), whole)
  check_close(jax.tree.map(lambda x: x[1], moved), once)


def misfit(**changes):
  network, variables = from_nnx(nnx_twins.NnxRNN(nnx.Rngs(0)))
  head = {**variables["params"]["head"], **changes}
  head = {name: x for name, x in head.items() if x is not None}
  params = {**variables["params"], "head": head}
  network.apply({"params": params}, jnp.ones((1, 2, 4)))


def rnn(**how):
  network, variables = from_nnx(nnx_twins.NnxRNN(nnx.Rngs(0)))
  network.apply(variables, jnp.ones((1, 2, 4)), **how)


@pytest.mark.parametrize(
  ("run", "words"),
  [
    (lambda: from_nnx(nnx_twins.NnxRNN), "NnxRNN(...)"),
    (lambda: from_nnx(nn.Dense(3)), "Dense, which from_linen"),
    (
      lambda: misfit(kernel=jnp.ones((5, 4))),
      "not those of NnxRNN: params/head/kernel has shape (5, 4), not (5, 3)",
    ),
    (lambda: misfit(bias=None), "params/head/bias is missing"),
    (lambda: misfit(scale=jnp.ones(3)), "params/head/scale is none of it"),
    (lambda: rnn(train=True), 'rngs={"dropout": key}'),
    (lambda: rnn(taps="rnn/cell"), "rnn/cell one runs under nnx.scan"),
    (lambda: rnn(taps="rnnn"), "did you mean 'rnn'?"),
  ],
)
def test_misfits_end_in_one_line(run, words):
  with pytest.raises(UserError) as caught:
    run()
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)
