"""From settings to what is to be kept of the teacher: what is wrong ends here."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.calling import call_with
from kdjax.core.errors import UserError
from kdjax.core.task import batch_of
from kdjax.core.teacher import observe
from kdjax.data.teacher_cache.records import record_type
from kdjax.runner.config import Experiment
from kdjax.runner.job import Plan
from kdjax.runner.jobs.cache import texts
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.cached_teacher import views_of
from kdjax.runner.pipeline.fingerprints import of_setup
from kdjax.runner.pipeline.kinds import is_of_texts
from kdjax.runner.pipeline.setup import Setup
from kdjax.train.arm import teacher_taps
from kdjax.train.precision import full_precision
from kdjax.train.teacher import live_teacher


class Caching(NamedTuple):
  """What is to be kept.

  Attributes:
    views: how many of an image, and how they are drawn, as in the manifest.
  """

  base: Setup
  views: dict[str, Any]
  taps: tuple[str, ...]
  kind: np.dtype


def build(experiment: Experiment) -> Plan:
  """Checks what is to be kept of the teacher, and counts the views."""
  if is_of_texts(experiment.data.task):
    return texts.build(experiment)
  if experiment.cache.form == "hidden":
    raise UserError(
      "--cache_form=hidden is of texts, --task=lm; of images it is dense or top_k"
    )
  views = _numbered_views(experiment)
  student = dataclasses.replace(experiment.student, views=views["count"])
  base = prepare(dataclasses.replace(experiment, student=student), "cache")
  taps = _taps(base)
  setup = Caching(base, views, taps, _record(base, taps))
  return Plan(setup, base.experiment, base.devices, lambda: of_setup(base))


def _numbered_views(experiment: Experiment) -> dict[str, Any]:
  views = views_of(experiment)
  if views["count"] is None:
    raise UserError(
      f"cache: --augment={experiment.student.augment!r} has no end of views; say"
      " how many of each image there are to be, such as --views=4"
    )
  return views


def _taps(base: Setup) -> tuple[str, ...]:
  """What is to be kept: what was named, or what the method looks at."""
  taps = base.experiment.cache.taps
  if taps is not None:
    return tuple(taps.split())
  return teacher_taps([base.student.arms["student"]])


def _record(base: Setup, taps: tuple[str, ...]) -> np.dtype:
  """Finds the shapes of what the teacher shows, without computing anything."""
  settings, network = base.experiment.cache, base.teacher.network

  def show(key):
    variables = call_with(network.init, key, base.sample, train=False)
    teacher = live_teacher(full_precision(network), variables)
    return observe(teacher, batch_of(base.sample), taps)

  outputs = jax.eval_shape(show, jax.random.key(0))
  for tap, value in outputs.feats.items():
    if not hasattr(value, "shape"):
      raise UserError(f"cache: tap {tap!r} is several arrays; keep one of them")
  return record_type(
    base.dataset.classes,
    top_k=(settings.top_k or 5) if settings.form == "top_k" else None,
    taps={tap: value.shape[1:] for tap, value in outputs.feats.items()},
    dtype=settings.dtype,
    size=outputs.answers.shape[1:-1],
  )
