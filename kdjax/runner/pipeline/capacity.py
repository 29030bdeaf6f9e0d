"""Whether networks fit into memory with all that trains them, before one is made.

What a step takes is known when it is compiled; networks, their optimisers and
what a method keeps beside them are there before, and known from their shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.calling import call_with
from kdjax.core.errors import quantity
from kdjax.core.method import stateless
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher, observe, teacher_head
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import language_models
from kdjax.runner.pipeline.fitting_mesh import fitting_mesh
from kdjax.runner.pipeline.partition import (
  activations_on_a_device,
  batch_parts,
  check_rules,
  on_a_device,
)
from kdjax.tasks.classification import classification
from kdjax.train.arm import Arm
from kdjax.train.devices import memory
from kdjax.train.devices.placement import local
from kdjax.train.devices.rules import Partition
from kdjax.train.population.arrangement import train_states
from kdjax.train.precision import full_precision
from kdjax.train.teacher import live_teacher

TRY = " (--nopreflight tries nevertheless)"
PARTS = ("network", "method", "optimiser")
# (a partition -> bytes that a device would hold, bytes that it has) -> what is to be
# said of a mesh that has room.
Advise = Callable[[Callable[[Partition], int], int], str]


def check_image(size: int | None) -> None:
  """Refuses images of which not a single one fits, before one is read."""
  if size is not None:
    # In colour, as bytes and as what the network is shown.
    memory.check_room(
      f"--image_size={size}: an image", 15 * size**2, "smaller images"
    )


def check_batch(experiment: Experiment, sample: Any) -> None:
  """Refuses batches that do not fit.

  Args:
    sample: (1, ...) empty inputs.
  """
  if not experiment.computing.preflight:
    return
  for prefix, group in (
    ("", experiment.student),
    ("teacher_", experiment.teacher),
  ):
    count = max(group.batch_size // experiment.computing.accumulate_steps, 1)
    what = "inputs" if isinstance(sample, Mapping) else "images"
    shapes = [
      " x ".join(map(str, x.shape[1:])) for x in jax.tree.leaves(sample)
    ]
    memory.check_room(
      f"a batch of {count} {what} of {' and '.join(shapes)}",
      count * _bytes(sample),
      f"smaller {what}, or a lower --{prefix}batch_size{TRY}",
    )


class Plain(NamedTuple):
  """Networks that keep nothing but themselves and their optimiser."""

  network: nn.Module
  model: str
  optimizer: optax.GradientTransformation
  arms: dict[str, Arm]
  task: Task


def check_plain(
  title: str,
  network: nn.Module,
  model: str,
  optimizer: optax.GradientTransformation,
  sample: Any,
  devices: Sequence[jax.Device],
  *,
  members: int,
  teacher: nn.Module | None = None,
) -> None:
  """Refuses networks that learn by nothing that keeps something of its own.

  Args:
    sample: (1, ...) empty inputs.
  """
  method = stateless(lambda inputs: jnp.zeros(()), needs_teacher=False)
  arm = Arm(
    "all",
    lambda settings: method,
    {"seed": np.arange(members)},
    None if teacher is None else "teacher",
  )
  # Nobody reads the answers: any task does, of any width.
  task = classification(2)._replace(width=None)
  train_spec = Plain(network, model, optimizer, {title: arm}, task)
  check_networks(title, train_spec, teacher, sample, devices)


def check_run(setup: Any) -> None:
  """Refuses runs whose networks do not fit."""
  if not setup.experiment.computing.preflight:
    return
  sample, devices = setup.sample, setup.devices
  has_teacher = any(arm.teacher for arm in setup.student.arms.values())
  shows = None
  if has_teacher and setup.cached is not None:
    shows = setup.cached.teacher(np.zeros(1, int))
  elif has_teacher:
    shows = setup.teacher.network
    if setup.trains_teacher:
      check_networks("teacher", setup.teacher, None, sample, devices)
    _check_answers(setup)
  layouts = [arm.scheme.layout for arm in setup.student.arms.values()]
  others = () if any(layouts) else (adviser(setup.experiment, devices),)
  check_networks("student", setup.student, shows, sample, devices, *others)


def _check_answers(setup: Any) -> None:
  """Refuses answers to all training images that are kept and do not fit."""
  is_kept = setup.student.task.kept is not None
  if is_kept and setup.experiment.student.augment == "none":
    memory.check_room(
      f"keeping a teacher's answers to {len(setup.train_split.labels)} images",
      min(setup.answer_bytes, setup.experiment.data.resident_megabytes << 20),
      f"a lower --resident_megabytes{TRY}: the teacher is then asked in every step",
    )


def check_partition(setup: Any) -> None:
  """Refuses rules of `--shard_rules` that do not fit the run's networks."""
  partition = setup.student.partition
  if partition is None:
    return
  taught = setup.teacher and setup.teacher.network
  if setup.cached is not None:
    taught = setup.cached.teacher(np.zeros(1, int))
  states = []
  for spec in filter(None, (setup.student, setup.teacher)):
    for arm in spec.arms.values():
      shows = taught if arm.teacher else None
      states.append(state_shapes(spec, arm, shows, setup.sample))
  others = [one for one, _ in setup.other_teachers] + list(setup.stages)
  networks = [teacher_shapes(one.network, setup.sample) for one in others]
  text = setup.experiment.computing.shard_rules
  check_rules(partition, text, states, networks)


def check_networks(
  title: str,
  train_spec: Any,
  teacher: nn.Module | Teacher | None,
  sample: Any,
  devices: Sequence[jax.Device],
  advise: Advise = lambda held, room: "",
) -> None:
  """Refuses networks that do not fit with all that trains them.

  On a device at least one of them has to fit, with its gradient and the
  teacher; those that wait their turn are in the machine's memory.

  Args:
    sample: (1, ...) empty inputs.
    advise: names a mesh that has room.
  """
  partition = getattr(train_spec, "partition", None)
  kv_cache = getattr(train_spec, "kv_cache", None)
  shows = None if teacher is None else teacher_shapes(teacher, sample)
  states, members = {}, dict.fromkeys((False, True), 0)
  for arm in train_spec.arms.values():
    learns = arm.teacher is not None
    if learns not in states:
      shown = teacher if learns else None
      states[learns] = state_shapes(train_spec, arm, shown, sample)
    members[learns] += len(arm.settings["seed"])

  def on_each(partition):
    """What the largest member keeps on a device, and what is there beside it."""
    sizes = [_sizes(state, partition) for state in states.values()]
    beside = {
      "teacher": teacher_bytes(shows, partition),
      "KV cache": kv_cache(partition) if kv_cache else 0,
    }
    return max(sizes, key=lambda parts: sum(parts.values())), beside

  def held(partition):
    one, beside = on_each(partition)
    gradient = max(_gradient(state, partition) for state in states.values())
    return sum(one.values()) + gradient + sum(beside.values())

  one, beside = on_each(partition)
  sizes = memory.listed({part: one[part] for part in PARTS}, empty=True)
  others = memory.listed(beside)
  each = f" on each of {len(devices)} devices" if len(devices) > 1 else ""
  large = max(("network", "method"), key=one.get)
  smaller = f"a smaller {large}{TRY}"
  host = memory.host_memory()
  free = memory.free_memory(devices, besides=shows)
  if None not in (host, free):
    # A teacher that is there already needs no more room.
    there = free * len(local(devices))
    host = there if devices[0].platform == "cpu" else host + there
  alone = held(partition)
  mesh = advise(held, free) if free is not None and alone > free else ""
  memory.check_room(
    f"a {title} {train_spec.model} ({sizes}) with its gradient"
    + (f", beside {others}," if others else "")
    + each,
    alone,
    f"{mesh}, or {smaller}" if mesh else smaller,
    free,
  )
  total = sum(
    number * sum(_sizes(states[learns], partition).values())
    for learns, number in members.items()
    if number
  )
  memory.check_room(
    f"the {title} {train_spec.model}, {sum(members.values())} networks ({sizes}"
    " each),",
    total + held(partition) - sum(one.values()),
    f"fewer --seeds, or {smaller}",
    host,
  )


def check_teachers(
  experiment: Experiment,
  folders: Sequence[str],
  devices: Sequence[jax.Device],
  partition: Partition | None,
) -> None:
  """Refuses language models that do not fit as they are cut, before one is read."""
  shapes = [language_models.shapes_of(folder) for folder in folders]

  def held(partition):
    return sum(teacher_bytes(one, partition) for one in shapes)

  size, free = held(partition), memory.free_memory(devices)
  if free is not None and size > free:
    memory.check_room(
      f"--teacher_from={', '.join(folders)}: on each of"
      f" {quantity(len(devices), 'device')} that",
      size,
      f"{adviser(experiment, devices)(held, free)}, or a smaller network{TRY}",
      free,
    )


def teacher_bytes(shows: Any, partition: Partition | None) -> int:
  """Bytes on a device of a network that teaches, or of answers that are kept."""
  if partition is not None and not getattr(shows, "stored", ()):
    shows = on_a_device(shows, partition)
  return _bytes(shows)


def adviser(experiment: Experiment, devices: Sequence[jax.Device]) -> Advise:
  """Makes the function that names a mesh with room for the run's student."""
  return partial(
    fitting_mesh,
    devices=len(devices),
    batch_size=experiment.student.batch_size,
    rules=experiment.computing.shard_rules,
  )


def step_advice(
  experiment: Experiment,
  needs: memory.Needs,
  arguments: tuple,
  devices: Sequence[jax.Device],
  partition: Partition | None,
  free: int,
) -> str:
  """Names a mesh with room for a step that does not fit.

  What is temporary is taken for a gradient, which is cut as its parameters are, and
  for activations, see `activations_on_a_device`.

  Args:
    arguments: of the step, see `loop.train`.
    partition: how the step's arrays are cut; None for no mesh.
    free: bytes that are free on a device, beside the arguments.
  """
  states, teachers = arguments[0], arguments[5] or {}
  sizes = needs.memory

  def gradients(partition):
    return sum(_gradient(one, partition) for one in states.values())

  def share(partition):
    if partition is None:
      return 1 / batch_parts(None, devices)
    # Of the arm with the largest part.
    return max(activations_on_a_device(x, partition) for x in states.values())

  activations = max(sizes["temporary"] - gradients(partition), 0)
  activations /= share(partition)

  def held(candidate):
    kept = [_bytes(on_a_device(one, candidate)) for one in states.values()]
    kept += [teacher_bytes(one, candidate) for one in teachers.values()]
    temporary = gradients(candidate) + activations * share(candidate)
    return int(sum(kept) + sizes["data"] + temporary)

  room = free + sum(sizes.values()) - sizes["temporary"]
  return adviser(experiment, devices)(held, room)


def teacher_shapes(teacher: nn.Module | Teacher, sample: Any) -> Any:
  """What a teacher knows, as shapes."""
  if isinstance(teacher, Teacher):
    return teacher
  return jax.eval_shape(
    lambda key: call_with(teacher.init, key, sample, train=False),
    jax.random.key(0),
  )


def state_shapes(
  train_spec: Any,
  arm: Arm,
  teacher: nn.Module | Teacher | None,
  sample: Any,
) -> Any:
  """What one member of an arm keeps, as shapes."""
  method = arm.method({name: x[0] for name, x in arm.settings.items()})

  def create(key):
    shows = teacher
    if shows is not None and not isinstance(shows, Teacher):
      variables = call_with(teacher.init, key, sample, train=False)
      shows = live_teacher(full_precision(teacher), variables)
    return arm.scheme.create(
      train_spec.network,
      method,
      train_spec.optimizer,
      rng=key,
      task=train_spec.task,
      inputs=sample,
      teacher=observe(
        shows,
        train_spec.task.sample(sample),
        method.teacher_taps,
        task=train_spec.task,
      ),
      learning_rate=0.0,
      head=teacher_head(shows),
    )

  return jax.eval_shape(create, jax.random.key(0))


def _sizes(state: Any, partition: Partition | None) -> dict[str, int]:
  """Bytes on a device, by what they are for."""
  sizes = dict.fromkeys(PARTS, 0)
  if partition is not None:
    state = on_a_device(state, partition)
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    name = jax.tree_util.keystr(path)
    part = "method" if "method" in name else "network"
    sizes["optimiser" if "opt_state" in name else part] += _bytes(leaf)
  return sizes


def _gradient(state: Any, partition: Partition | None) -> int:
  """Bytes on a device of what is trained, and so of its gradient."""
  if partition is not None:
    state = on_a_device(state, partition)
  return _bytes([one.params for one in train_states(state)])


def _bytes(tree: Any) -> int:
  # In Python's integers: the sizes that are refused overflow others.
  return sum(
    int(np.prod(leaf.shape, dtype=object)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )
