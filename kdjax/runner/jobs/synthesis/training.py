"""Images, learning rates and labels, learned step by step."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax import data
from kdjax.core.errors import DivergedError
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.synthesis.build import SynthesisSetup
from kdjax.runner.jobs.synthesis.unroll import Synthetic, begin, outer_loss

# A network on the brink of divergence has gradients of any size; longer ones
# than this would stay in Adam's averages for a hundred steps.
LONGEST_GRADIENT = 0.1
# What a fixed start is drawn from, in learning and afterwards.
FIXED = 2**31 - 1


class Progress(NamedTuple):
  """How far a synthesis has come.

  Attributes:
    loss: outer loss before the last of them, nats.
  """

  step: int
  loss: jax.Array
  synthetic: Synthetic


def first_images(setup: SynthesisSetup, seed: int) -> Synthetic:
  """Returns what a synthesis starts from.

  Args:
    seed: of the synthesis; the real images are those that `draw` gives for it.
  """
  settings = setup.experiment.synthesis
  if settings.first_images == "noise":
    labels = np.repeat(
      np.arange(setup.dataset.classes), settings.images_per_class
    )
    images = np.random.default_rng(seed).normal(
      size=(len(labels), *setup.dataset.image_shape)
    )
  else:
    places = draw(setup.labels, settings.images_per_class, seed)
    images, labels = setup.images[places], setup.labels[places]
  return begin(
    jnp.asarray(images, jnp.float32),
    labels,
    classes=setup.dataset.classes,
    steps=settings.inner_steps,
    epochs=settings.inner_epochs,
    rate=settings.first_rate,
  )


def draw(labels: np.ndarray, images_per_class: int, seed: int) -> np.ndarray:
  """Draws as many examples of every class.

  Args:
    labels: (N,) int.
    seed: >= 0.
  """
  count = images_per_class * len(np.unique(labels))
  return data.stratified(labels, count, seed=seed)


def outer_optimizer(experiment: Experiment) -> optax.GradientTransformation:
  """Makes Adam, with a cosine's fall, of images, labels (if learned) and rates."""
  settings = experiment.synthesis

  def adam(rate):
    return optax.adam(optax.cosine_decay_schedule(rate, settings.outer_steps))

  by_field = {
    "images": adam(settings.image_rate),
    "labels": adam(settings.image_rate)
    if settings.learn_labels
    else optax.set_to_zero(),
    "log_rates": adam(settings.rate_rate),
  }
  return optax.chain(
    optax.clip_by_global_norm(LONGEST_GRADIENT),
    optax.multi_transform(by_field, Synthetic(*Synthetic._fields)),
  )


def make_starts(
  setup: SynthesisSetup,
  key: jax.Array,
  count: int,
  is_fixed: bool | None = None,
) -> Any:
  """Initialises networks; parameters with an axis (M,), (1,) for a fixed start.

  Args:
    is_fixed: whether all are the one fixed start; by default as the settings say.
  """
  if is_fixed is None:
    is_fixed = setup.experiment.synthesis.initialisation == "fixed"
  if is_fixed:
    return jax.vmap(setup.init)(jax.random.key(FIXED)[None])
  return jax.vmap(setup.init)(jax.random.split(key, count))


def learn_images(
  setup: SynthesisSetup, seed: int, step: Callable | None = None
) -> Iterator[Progress]:
  """Learns one set of images.

  Args:
    step: from `make_outer_step`; syntheses that share it compile it once.
  """
  step = step or make_outer_step(setup)
  synthetic = first_images(setup, seed)
  state = outer_optimizer(setup.experiment).init(synthetic)
  real = jax.device_put((setup.images, setup.labels), setup.devices[0])
  total = setup.experiment.synthesis.outer_steps
  for number in range(1, total + 1):
    key = jax.random.fold_in(jax.random.key(seed), number)
    synthetic, state, loss = step(synthetic, state, key, *real)
    if number % 10 == 0 or number == total:
      # Waiting here keeps the queue of steps short.
      if not np.isfinite(loss):
        raise DivergedError(
          f"the outer loss of synthesis {seed} is not finite at step {number};"
          " lower --image_rate, --rate_rate or --first_rate"
        )
      yield Progress(number, loss, synthetic)


def make_outer_step(setup: SynthesisSetup) -> Callable:
  """Makes the step that images and rates take, of real images and labels."""
  settings = setup.experiment.synthesis
  optimizer = outer_optimizer(setup.experiment)

  def measure(synthetic, starts, images, labels):
    def loss(synthetic):
      return outer_loss(
        setup.apply, starts, synthetic, images, labels, rolled=setup.together
      )

    return jax.value_and_grad(loss)(synthetic)

  def prepare(key, images, labels):
    picks, inits = jax.random.split(key)
    places = jax.random.permutation(picks, len(labels))
    places = places[: settings.outer_batch_size]
    starts = make_starts(setup, inits, settings.network_inits)
    return starts, images[places], labels[places]

  def finish(synthetic, state, gradient):
    updates, state = optimizer.update(gradient, state, synthetic)
    return optax.apply_updates(synthetic, updates), state

  if setup.together:

    @jax.jit
    def step(synthetic, state, key, images, labels):
      inputs = prepare(key, images, labels)
      loss, gradient = measure(synthetic, *inputs)
      return *finish(synthetic, state, gradient), loss

    return step
  return _one_by_one(jax.jit(prepare), jax.jit(measure), jax.jit(finish))


def _one_by_one(prepare, measure, finish) -> Callable:
  """The step with one network's program at a time: many would compile long."""

  def step(synthetic, state, key, images, labels):
    starts, images, labels = prepare(key, images, labels)
    count = len(jax.tree.leaves(starts)[0])
    each = [
      measure(
        synthetic,
        jax.tree.map(lambda x, m=m: x[m : m + 1], starts),
        images,
        labels,
      )
      for m in range(count)
    ]
    loss, gradient = jax.tree.map(lambda *x: sum(x) / count, *each)
    return *finish(synthetic, state, gradient), loss

  return step
