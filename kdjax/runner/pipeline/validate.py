"""What the user can get wrong in settings that are right one by one."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import methods
from kdjax.core import spec
from kdjax.core.errors import UserError, quantity
from kdjax.core.schedule import make_schedule
from kdjax.data import Dataset
from kdjax.data.dataset import example
from kdjax.models.pretrained.cut import read_cut
from kdjax.runner.config import Experiment, options
from kdjax.runner.config.commands import DistillConfig
from kdjax.runner.pipeline import rules, validate_teachers
from kdjax.runner.pipeline.loaders import SAME
from kdjax.runner.pipeline.values import Values, is_cut
from kdjax.train.arm import Arm
from kdjax.train.devices import placement
from kdjax.train.schemes.registry import check_devices

# So many of a teacher's classes topk_kd reads where none is written.
_LIKELIEST = 64


def check_names(
  experiment: Experiment, local: Sequence[jax.Device], parts: int
) -> None:
  """Checks what can be checked before the data are opened: that may take minutes.

  Args:
    parts: into how many parts devices cut a batch.
  """
  for group in (experiment.teacher, experiment.student):
    check_batch_size(experiment, group.batch_size, parts)
  values = rules.check(DistillConfig, experiment)
  validate_teachers.check(experiment, values)
  check_devices(experiment.distillation.regime, values.scheme, len(local))
  for model in (values.student, values.teacher, *values.chain):
    if is_cut(model):
      read_cut(model.spec)
    elif model is not None:
      model.make(classes=2)


def check_batch_size(
  experiment: Experiment, batch_size: int, devices: int
) -> None:
  """Refuses batches that devices, or pieces, cannot share evenly.

  Args:
    devices: how many have a part of their own.
  """
  placement.check_batch_size(batch_size, devices)
  pieces = experiment.computing.accumulate_steps
  if pieces > 1 and batch_size % (pieces * devices):
    raise UserError(
      f"--accumulate_steps={pieces}: the batch size {batch_size} must be a multiple"
      f" of {pieces} pieces on {quantity(devices, 'device')}"
    )


def check_pieces(experiment: Experiment, arms: Mapping[str, Arm]) -> None:
  """Refuses pieces of batches to methods that relate a batch's examples."""
  pieces = experiment.computing.accumulate_steps
  for name, arm in arms.items() if pieces > 1 else ():
    first = {key: value[0] for key, value in arm.settings.items()}
    if arm.method(first).couples_batch:
      raise UserError(
        f"--accumulate_steps={pieces}: the loss of the {name} relates the"
        " examples of a batch to each other, and needs them all at once; lower"
        " --batch_size, or save memory by --remat or --compute_dtype=bfloat16"
      )


def members_apart(
  experiment: Experiment, arms: Mapping[str, Arm], local: Sequence[jax.Device]
) -> bool:
  """Says whether each device trains members of its own, see `--shard`."""
  shard = experiment.computing.shard
  meshed = experiment.computing.mesh is not None
  if shard == "batch" or meshed or len(local) == 1:
    return False
  members = len(arms["student"].settings["seed"])
  hindrances = {
    "several processes share every batch": jax.process_count() > 1,
    f"--scheme={experiment.distillation.regime} lays its networks over the"
    " devices itself": arms["student"].scheme.layout is not None,
    f"{len(local)} devices have {quantity(members, 'student')} to train; raise"
    " --seeds or take --shard=batch": members < len(local),
  }
  reasons = [reason for reason, holds in hindrances.items() if holds]
  if shard == "auto":
    return not reasons and experiment.student.seeds % len(local) == 0
  if reasons:
    raise UserError(f"--shard=members: {reasons[0]}")
  return True


def check_no_views(experiment: Experiment, dataset: Dataset) -> None:
  """Refuses views of inputs that are no images."""
  if not isinstance(dataset.image_shape, Mapping):
    return
  views = {
    "augment": experiment.student.augment,
    "teacher_augment": experiment.teacher.augment,
    "teacher_view": experiment.distillation.teacher_view,
    "reference_augment": experiment.controls.reference_augment,
  }
  for flag, view in views.items():
    if view not in (None, "none", SAME):
      raise UserError(
        f"--{flag}={view}: views are of images, and the inputs of {dataset.name} are"
        f" {', '.join(dataset.image_shape)}"
      )


def check_view(
  view: str,
  view_function: Callable,
  dataset: Dataset,
  *,
  numbered: bool = False,
) -> None:
  """Checks that networks learn on images of the size that they are measured on."""
  if isinstance(dataset.image_shape, Mapping):
    return  # there are no views of it, see `check_no_views`
  image = jnp.asarray(example(dataset.train.images, 0))[None]
  place = jnp.zeros(1, jnp.int32)
  turn = place if numbered else jax.random.key(0)
  try:
    shape = jax.eval_shape(view_function, turn, image, place).shape[1:]
  except ValueError as error:
    raise UserError(f"view {view!r}: {error}") from error
  if shape != tuple(dataset.image_shape):
    raise UserError(
      f"view {view!r}: it shows images of {shape[0]} x {shape[1]}, but what is"
      f" measured is {dataset.image_shape[0]} x {dataset.image_shape[1]};"
      " --crop_size=SIZE makes them alike"
    )


def check_schedules(experiment: Experiment, steps: int) -> None:
  """Checks what scheduled settings come to during the training."""
  for one in options.options():
    value = getattr(getattr(experiment, one.group), one.field.name)
    if not isinstance(value, spec.Spec):
      continue
    within = one.field.metadata["within"]
    for step, number in enumerate(
      np.asarray(jax.vmap(make_schedule(value, steps=steps))(jnp.arange(steps)))
    ):
      if not (np.isfinite(number) and number in within):
        raise UserError(
          f"--{one.flag}={value}: it must be {within}, but is {number:g} at step"
          f" {step}"
        )


def check_weights(experiment: Experiment, values: Values, steps: int) -> None:
  """Refuses objectives that train nothing, and weights that stop being ones."""
  settings = experiment.distillation
  factors = [
    weight if isinstance(weight, tuple) else (weight,)
    for weight in (settings.hard_weight, settings.method_weight)
  ]
  for hard, factor in itertools.product(*factors):
    _check_sum(values.objective, steps, hard, factor)
  if values.reference is not None:
    _check_sum(values.reference, steps, None, 1.0)


def _check_sum(
  objective: methods.ObjectiveSpec, steps: int, hard_weight, method_weight
) -> None:
  """Refuses one sum of methods, see `check_weights`."""
  total = np.zeros(steps, np.float32)
  for term in methods.terms_of(
    objective, hard_weight=hard_weight, method_weight=method_weight
  ):
    weight = make_schedule(term.weight, steps=steps)
    if callable(weight):
      weight = jax.vmap(weight)(jnp.arange(steps))
    values = np.broadcast_to(np.asarray(weight, np.float32), steps)
    good = np.isfinite(values) & (values >= 0)
    if not good.all():
      step = int(np.argmin(good))
      raise UserError(
        f"the weight in '{term}' must be finite and not negative, but is"
        f" {values[step]:g} at step {step}"
      )
    total = total + values
  if not total.any():
    flags = "" if hard_weight is None else f", --hard_weight={hard_weight}"
    flags += "" if method_weight == 1 else f", --method_weight={method_weight}"
    raise UserError(
      f"{objective.text!r}{flags}: every weight is 0 at every step, so that"
      " nothing would be learned"
    )


def check_stored_classes(
  objective: methods.ObjectiveSpec, where: str, stored: int
) -> None:
  """Refuses a method that reads more of the likeliest tokens than a cache has."""
  for term in methods.terms_of(objective):
    k = dict(term.spec.kwargs).get("k", _LIKELIEST)
    if term.spec.name == "topk_kd" and k > stored:
      raise UserError(
        f"--teacher_cache={where}: it has the {stored} likeliest tokens, and"
        f" topk_kd reads {k}; say topk_kd(k={stored})"
      )


def likeliest_read(objective: methods.ObjectiveSpec) -> int:
  """Says how many of a teacher's likeliest tokens an objective reads."""
  counts = [
    dict(term.spec.kwargs).get("k") or _LIKELIEST
    for term in methods.terms_of(objective)
    if term.spec.name == "topk_kd"
  ]
  return max(counts, default=_LIKELIEST)


def check_likeliest_suffice(
  objective: methods.ObjectiveSpec, where: str
) -> None:
  """Refuses what reads more of a teacher than its likeliest tokens.

  Args:
    where: the flag that names the teacher, with its value.
  """
  what = f"{where}: --distillation={objective.text}"
  for term in methods.terms_of(objective):
    given = dict(term.spec.kwargs)
    if not methods.asks_a_teacher(str(term._replace(weight=1.0))):
      continue
    if term.spec.name != "topk_kd":
      raise UserError(
        f"{what} reads more of a teacher than its likeliest tokens, which is all"
        " that an endpoint tells; topk_kd(k=20) is for them"
      )
    if given.get("temperature", 1) != 1 and given.get("tail") != "renormalize":
      raise UserError(
        f"{what}: what all other tokens have together is known at the temperature 1"
        " alone; leave it out, or say tail='renormalize'"
      )
