"""Every epoch of teacher, student and baseline, as a stream of checkpoints.

The student matches the teacher's feature at the tap, without labels. Then the
layers that the feature does not depend on learn from labels, with all others
frozen: nothing that is measured at the tap changes any more. The baseline has
the student's initialisation, images and number of epochs, and labels.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import data
from kdjax.core.errors import DivergedError, UserError
from kdjax.core.method import Method, Outputs, stateless
from kdjax.core.teacher import Teacher
from kdjax.data import Split
from kdjax.methods import make_objective
from kdjax.runner.jobs.knowledge.build import KnowledgeSetup
from kdjax.runner.jobs.knowledge.resume import Saved, restored
from kdjax.runner.pipeline.dataset import task_of
from kdjax.tasks.classification import classification
from kdjax.train import loop
from kdjax.train.arm import Arm
from kdjax.train.epoch import Epoch
from kdjax.train.precision import full_precision
from kdjax.train.state import TrainState, variables
from kdjax.train.teacher import live_teacher

# The teacher's features of all training images are computed once where they
# take no more than this, bytes.
STORED = 64 << 20


class Checkpoint(NamedTuple):
  """All networks after an epoch.

  Attributes:
    epoch: 0 is the initialisation.
    states: by arm, with a leading axis of seeds.
    losses: by arm, one a seed; empty where the training begins.
  """

  epoch: int
  states: dict[str, TrainState]
  losses: dict[str, np.ndarray]

  @property
  def networks(self) -> dict[str, Any]:
    """By arm, variables with a leading axis of seeds."""
    return {arm: variables(state) for arm, state in self.states.items()}


def _hard(setup: KnowledgeSetup) -> Method:
  """The labels alone, as the data set's task weighs them."""
  return make_objective("hard", task=task_of(setup.dataset))


def teacher_epochs(
  setup: KnowledgeSetup, saved: Saved | None = None
) -> Iterator[Checkpoint]:
  """Trains the teacher on labels.

  Args:
    saved: where to begin; None for the initialisation.
  """
  teacher = setup.experiment.teacher
  settings = {
    "seed": np.array([teacher.seed]),
    "learning_rate": np.array([_rate(teacher.learning_rate)]),
  }
  arms = {"teacher": Arm("all", lambda settings: _hard(setup), settings)}
  yield from _epochs(setup, "teacher", setup.teacher_split, arms, saved=saved)


def student_epochs(
  setup: KnowledgeSetup, teacher: Any, saved: Saved | None = None
) -> Iterator[Checkpoint]:
  """Trains student and baseline from the same initialisation.

  Args:
    saved: where to begin; None for the initialisation.
  """
  settings = _settings(setup)
  arms = {
    "student": Arm(
      "all", lambda settings: matching, settings, teacher="teacher"
    ),
    "baseline": Arm("all", lambda settings: _hard(setup), settings),
  }
  matching = feature_matching(
    setup.experiment.quantify.tap, _variance(setup, teacher)
  )
  teachers = {
    "teacher": _stored(setup, teacher)
    or live_teacher(full_precision(setup.network), teacher)
  }
  split = setup.dataset.train
  yield from _epochs(
    setup, "student", split, arms, teachers=teachers, saved=saved
  )


def label_epochs(
  setup: KnowledgeSetup, students: Any, mask: Any, saved: Saved | None = None
) -> Iterator[Checkpoint]:
  """Trains the student's layers above the tap on labels.

  Args:
    saved: where to begin; None for the students.
  """

  def method(settings) -> Method:
    def adopt(params, inputs):
      return jax.tree.map(
        lambda x: jnp.asarray(x)[settings["seed"]], students["params"]
      )

    return _hard(setup)._replace(
      adopt=adopt, frozen=lambda step: {"network": mask["params"]}
    )

  arms = {"student": Arm("all", method, _settings(setup))}
  yield from _epochs(
    setup,
    "student",
    setup.dataset.train,
    arms,
    epochs=setup.experiment.quantify.label_epochs,
    saved=saved,
  )


def unchanged(mask: Any, students: Any, new_students: Any) -> Any:
  """Keeps what the feature depends on as it was.

  What normalisation layers remember moves on even where weights do not.
  """
  return jax.tree.map(
    lambda keep, old, new: old if keep else new, mask, students, new_students
  )


def feature_matching(tap: str, variance: float) -> Method:
  """Mean squared difference of features, over the teacher's variance.

  Example:
    >>> from kdjax.core.method import Inputs, Outputs
    >>> outputs = [Outputs(None, {"a": jnp.full((1, 2), x)}) for x in (1.0, 3.0)]
    >>> method = feature_matching("a", 2.0)
    >>> print(method.apply((), (), Inputs(*outputs, jnp.zeros(1, int), 0))[0])
    2.0
  """

  def loss(inputs):
    (student,) = inputs.student.feats.values()
    (teacher,) = inputs.teacher.feats.values()
    square = (student.astype(jnp.float32) - teacher.astype(jnp.float32)) ** 2
    return square.reshape(len(square), -1).mean(axis=1) / variance

  return stateless(loss, student_taps=(tap,), teacher_taps=(tap,))


def depends(setup: KnowledgeSetup, network: Any) -> Any:
  """Finds the variables that the tapped feature depends on.

  A variable that is replaced by NaN shows in whatever is computed from it.
  """
  leaves, tree = jax.tree.flatten(network)

  @jax.jit
  def spoilt(leaves):
    feature = setup.feature(tree.unflatten(leaves), setup.sample)
    return jnp.isnan(feature).any()

  changes = []
  for i, leaf in enumerate(leaves):
    poison = jnp.full_like(leaf, jnp.nan)
    changes.append(bool(spoilt([*leaves[:i], poison, *leaves[i + 1 :]])))
  return tree.unflatten(changes)


def _epochs(
  setup: KnowledgeSetup,
  name: str,
  split: Split,
  arms,
  *,
  teachers=None,
  saved: Saved | None = None,
  epochs=None,
) -> Iterator[Checkpoint]:
  """Trains arms on one loader; `name`: whose settings, teacher or student."""
  settings = getattr(setup.experiment, name)
  epochs = settings.epochs if epochs is None else epochs
  loader = setup.loaders[name]
  optimizer = setup.optimizers[name](loader.steps * epochs)
  begin = partial(
    loop.initial_states,
    setup.network,
    optimizer,
    arms,
    task=classification(setup.dataset.classes),
    sample=setup.sample,
    teachers=teachers,
  )
  states = restored(saved, jax.eval_shape(begin)) if saved else begin()
  first = saved.epoch if saved else 0
  yield Checkpoint(first, states, {})
  if first == epochs:
    return
  resident = data.resident(split)
  for epoch in loop.train(
    setup.network,
    optimizer,
    arms,
    {"all": loader},
    split.images if resident else None,
    epochs=epochs,
    task=classification(setup.dataset.classes),
    sample=setup.sample,
    read=None if resident else partial(data.stream, split),
    teachers=teachers,
    devices=setup.devices,
    together=setup.together,
    start=Epoch(first, first * loader.steps, True, 0, states, {}),
  ):
    yield _checked(epoch, arms)


def _checked(epoch, arms) -> Checkpoint:
  losses = {arm: epoch.metrics[arm]["loss"] for arm in arms}
  for arm, values in losses.items():
    if not np.isfinite(values).all():
      raise DivergedError(
        f"the loss of the {arm} is not finite in epoch {epoch.number}; lower"
        " the learning rate"
      )
  return Checkpoint(epoch.number, epoch.states, losses)


def _settings(setup: KnowledgeSetup) -> dict[str, np.ndarray]:
  settings = setup.experiment.student
  rate = _rate(settings.learning_rate)
  return {
    "seed": np.arange(settings.seeds),
    "learning_rate": np.full(settings.seeds, rate),
  }


def _rate(rate: float | None) -> float:
  return 1e-3 if rate is None else rate


def _stored(setup: KnowledgeSetup, teacher: Any) -> Teacher | None:
  """The teacher as its features of all training images, where that is cheap."""
  split, tap = setup.dataset.train, setup.experiment.quantify.tap
  shape = jax.eval_shape(setup.feature, teacher, setup.sample).shape
  size = 4 * len(split.labels) * int(np.prod(shape[1:]))
  plain = setup.experiment.student.augment == "none"
  if not plain or not data.resident(split) or size > STORED:
    return None
  feature = jax.jit(
    lambda images: setup.feature(teacher, data.to_float(images))
  )
  batch = setup.experiment.student.batch_size
  table = np.concatenate(
    [
      np.asarray(feature(split.images[i : i + batch]))
      for i in range(0, len(split.labels), batch)
    ]
  )

  def show(table, batch, step, taps):
    # Nobody asks for its logits.
    return Outputs(jnp.zeros((len(batch.index), 1)), {tap: table[batch.index]})

  return Teacher(jnp.asarray(table), show, lambda table: None)


def _variance(setup: KnowledgeSetup, teacher: Any) -> float:
  """The teacher's feature's variance on up to 256 training images."""
  split = setup.dataset.train
  count = min(256, len(split.labels))
  images = jnp.asarray(np.stack([split.images[i] for i in range(count)]))
  feature = jax.jit(setup.feature)(teacher, data.to_float(images))
  variance = float(jnp.mean(jnp.var(feature.astype(jnp.float32), axis=0)))
  if not variance > 0:
    raise UserError(
      f"--tap={setup.experiment.quantify.tap}: the teacher's feature is the same"
      " for all images; there is nothing to learn from it"
    )
  return variance
