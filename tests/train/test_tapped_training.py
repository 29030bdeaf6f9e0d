"""Training that looks inside both networks: features, batch normalisation,
learned regressors; on any number of devices, side by side or one by one."""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.core.task import Batch, batch_of
from kdjax.core.teacher import observe
from kdjax.methods import make_objective
from kdjax.tasks import classification
from kdjax.train.dry_run import check_step
from kdjax.train.loop import side_by_side
from kdjax.train.precision import full_precision
from kdjax.train.state import variables
from kdjax.train.step import take_step
from kdjax.train.teacher import live_teacher


class Small(nn.Module):
  """A convolution, batch normalisation and a classifier."""

  width: int

  @nn.compact
  def __call__(self, images, train=False):
    x = nn.Conv(self.width, (3, 3), name="stage_0")(images)
    x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    x = nn.relu(x).mean(axis=(1, 2))
    return nn.Dense(4, name="head")(nn.Dropout(0.2, deterministic=not train)(x))


OBJECTIVES = {
  "per example": "attention_transfer:10 + fitnets:0.1 + ce:1",
  "coupled": "sp:10 + review_kd(teacher_tap='stage_*'):1 + ce:1",
}


@pytest.fixture(scope="module")
def observed():
  """A teacher with other widths than the student."""
  network = Small(6)
  values = jax.jit(network.init)(jax.random.key(3), jnp.zeros((1, 6, 6, 1)))
  return live_teacher(full_precision(network), values)


def final(epochs):
  state = epochs[-1].states["student"]
  return state.params, state.collections


@pytest.mark.slow
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_devices_agree(fit, observed, kind):
  """Ragged batches included, but for coupled methods, which drop them."""

  def run(devices):
    return fit(
      lambda settings: make_objective(OBJECTIVES[kind]),
      devices=devices,
      network=Small(4),
      teacher=observed,
      drop_remainder=kind == "coupled",
    )

  chex.assert_trees_all_close(
    final(run(2)), final(run(1)), rtol=1e-3, atol=1e-4
  )


@pytest.mark.slow
def test_one_by_one_is_side_by_side(fit, observed):
  def run(together):
    return fit(
      lambda settings: make_objective(OBJECTIVES["per example"]),
      network=Small(4),
      teacher=observed,
      together=together,
    )

  one_by_one, together = run(False), run(True)
  chex.assert_trees_all_close(
    final(one_by_one), final(together), rtol=1e-3, atol=1e-4
  )
  for name, values in one_by_one[-1].metrics["student"].items():
    np.testing.assert_allclose(
      values, together[-1].metrics["student"][name], rtol=1e-3
    )


@pytest.mark.parametrize(
  ("network", "platform", "expected"),
  [
    (Small(2), "cpu", False),
    (Small(2), "gpu", True),
    (nn.Sequential([nn.Dense(2)]), "cpu", True),
  ],
)
def test_convolutions_do_not_pay_side_by_side(network, platform, expected):
  if isinstance(network, nn.Sequential):

    class Dense(nn.Module):
      @nn.compact
      def __call__(self, images, train=False):
        return nn.Dense(2)(images.reshape(len(images), -1))

    network = Dense()
  assert side_by_side(network, jnp.zeros((1, 6, 6, 1)), platform) == expected


@partial(jax.jit, static_argnums=(0, 1))
def small_step(objective, gradient_metrics, observed):
  """One step of the student on 8 images."""
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.uniform(size=(8, 6, 6, 1)), jnp.float32)
  index = jnp.arange(8)
  labels = jnp.asarray(rng.integers(0, 4, 8), jnp.int32)
  method = make_objective(objective)
  outputs = observe(observed, batch_of(images), method.teacher_taps)
  from kdjax.train.optimizer import make_optimizer
  from kdjax.train.state import create_state

  state = create_state(
    Small(4),
    method,
    make_optimizer("sgd", "constant", 1),
    rng=jax.random.key(0),
    task=classification(4),
    inputs=images,
    teacher=outputs,
    learning_rate=1.0,
  )
  batch = Batch(images, labels, jnp.ones(8, bool), index, index)
  return state, take_step(
    state,
    method,
    batch,
    outputs,
    rng=jax.random.key(1),
    gradient_metrics=gradient_metrics,
  )


def test_gradients_term_by_term(observed):
  """Norms and cosines from the steps that each term takes alone."""
  both, terms = "attention_transfer:50 + ce:1", {}
  start, (after, metrics) = small_step(both, True, observed)

  def taken(state):
    """The step, which at a rate of one is the gradient, as one vector."""
    before, after = (
      jax.flatten_util.ravel_pytree(jax.device_get(one.params["network"]))[0]
      for one in (start, state)
    )
    return before - after

  for name in ("attention_transfer:50", "ce:1"):
    _, (alone, _) = small_step(name, False, observed)
    terms[name.split(":")[0]] = np.asarray(taken(alone))
  norms = {name: np.linalg.norm(grad) for name, grad in terms.items()}
  for name, norm in norms.items():
    np.testing.assert_allclose(
      metrics[f"gradient_norm/{name}"][0], norm, rtol=1e-4
    )
  cosine = np.vdot(*terms.values()) / np.prod(list(norms.values()))
  np.testing.assert_allclose(
    metrics["gradient_cosine/attention_transfer"][0], cosine, rtol=1e-3
  )
  # Measured or not, the step is that of the sum.
  np.testing.assert_allclose(
    taken(after), sum(terms.values()), rtol=1e-4, atol=1e-5
  )


@pytest.mark.slow
def test_regressors_train_and_stay_out_of_the_student(fit, observed):
  epochs = fit(
    lambda settings: make_objective("fitnets:1"),
    network=Small(4),
    teacher=observed,
  )
  state = epochs[-1].states["student"]
  assert set(variables(state)["params"]) == {"stage_0", "BatchNorm_0", "head"}
  moved = jax.tree.leaves(state.params["method"])
  assert moved and all(np.any(leaf) for leaf in moved)


def test_untapped_is_the_same_program(observed):
  """What a method does not look at costs nothing."""
  images = jnp.zeros((8, 6, 6, 1))

  def answers(taps):
    def run(images):
      return observe(observed, batch_of(images), taps).answers

    return jax.jit(run).lower(images).compile().cost_analysis()["flops"]

  assert answers(()) == answers(("stage_0",))


@pytest.mark.parametrize(
  ("objective", "expected"),
  [
    ("fitnets(student_tap='stag_0'):1", "stage_0"),
    ("attention_maps:1", "attention"),
    ("simkd(teacher_tap='stage_*'):1", "projector"),
    ("simkd:1", "the teacher's tap"),
  ],
)
def test_what_does_not_fit_is_found_by_shapes_alone(objective, expected):
  method = make_objective(objective)
  with pytest.raises(UserError, match=expected):
    check_step(
      Small(4), Small(6), method, jnp.zeros((1, 6, 6, 1)), classification(4)
    )
