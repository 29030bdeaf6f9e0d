"""Who teaches and who learns: language models, loaded, cut out, or new ones."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.models import ModelSpec, pretrained, quantized
from kdjax.models.lora import Lora, merge, with_lora
from kdjax.models.pretrained.architectures import config_of
from kdjax.models.pretrained.cut import CUTS, read_cut
from kdjax.models.pretrained.load import (
  COMPUTES_IN,
  Pretrained,
  in_few_bits,
  network_of,
)
from kdjax.models.pretrained.width import Width
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline.language_models import (
  check_same_tokenizer,
  open_language_model,
)
from kdjax.runner.report.progress import say
from kdjax.taps.network import Network, from_linen
from kdjax.train.precision import as_network, in_precision, with_precision

# Training sequences that tell what a narrower student keeps.
TEXTS = 32
# A student that is left open: every other block of the teacher.
DEFAULT = "every(2)"


class StudentModel(NamedTuple):
  """The network that learns.

  Attributes:
    text: what it is, for people.
    pretrained: as it is saved, and what it begins with; no variables where each
      seed draws its own.
    lora: its adapters, which alone are trained then; None for none.
    quantization: the bits that it learns to compute in, of `quantized.SCHEMES`.
    narrowed: what its width is cut out of, and how, so that texts can tell what
      matters there; None for a student as wide as it was.
  """

  text: str
  pretrained: Pretrained
  lora: Lora | None = None
  quantization: str = quantized.NONE
  narrowed: tuple[Pretrained, str] | None = None


def make_student(
  experiment: Experiment,
  model: ModelSpec | None,
  teacher: Pretrained,
  classes: int,
) -> StudentModel:
  """Loads the student, cuts it out of the teacher, or builds a new one.

  Args:
    model: what --student says; None where it is left open.
    classes: how many tokens the teacher has logits for.
  """
  where = experiment.language.student_from
  if where is not None:
    if model is not None and model.spec.name not in CUTS:
      raise UserError(
        f"--student={model} and --student_from={where}: each names the student;"
        " leave one of them out"
      )
    student = open_language_model("student_from", where)
    if experiment.language.across is None and teacher.network is not None:
      check_same_tokenizer(
        f"--student_from={where}",
        student,
        f"--teacher_from={experiment.teacher.teacher_from}",
        teacher,
        "; --across=bytes or --across=uld compares such networks",
      )
    if model is None:
      return StudentModel(where, student)
    return _cut_out(f"{model.text} of {where}", student, model.text)
  if model is None or model.spec.name in CUTS:
    text = DEFAULT if model is None else model.text
    return _cut_out(text, teacher, text)
  module = model.make(classes=classes)
  try:
    config_of(module)
  except UserError:
    raise UserError(
      f"--student={model}: it has no form that other programs load, and could not"
      " be saved; possible: decoder(...), layers(N), every(N), blocks([...]),"
      " width(...), or --student_from"
    ) from None
  if experiment.language.lora is not None:
    raise UserError(
      f"--lora={experiment.language.lora}: --student={model} begins untrained, and"
      " its own weights would stay so; adapters are for a student that is cut out of"
      " a network or loaded"
    )
  return StudentModel(model.text, Pretrained(network_of(module), None, {}))


def _cut_out(title: str, network: Pretrained, text: str) -> StudentModel:
  try:
    which = read_cut(text)
    student = StudentModel(title, pretrained.cut(network, which))
  except UserError as error:
    raise UserError(f"--student={text}: {error}") from None
  if which.width == Width():
    return student
  return student._replace(narrowed=(network, text))


def cut_by_texts(
  student: StudentModel, sequences: Mapping[str, np.ndarray]
) -> StudentModel:
  """Chooses what a student keeps of its width by what texts make of it.

  Args:
    sequences: the training's, of which some are looked at.
  """
  if student.narrowed is None:
    return student
  network, text = student.narrowed
  count = len(sequences["tokens"])
  places = np.unique(np.linspace(0, count - 1, TEXTS).round().astype(int))
  say(f"{text}: what matters on {quantity(len(places), 'training sequence')}")
  inputs = {name: x[places] for name, x in sequences.items()}
  cut = pretrained.cut(network, read_cut(text), inputs=inputs)
  return student._replace(pretrained=cut, narrowed=None)


def as_trained(
  student: StudentModel, sample: Any, *, dtype: str, remat: bool
) -> tuple[Network, Any]:
  """The network as it learns, in the run's precision, and what it begins with.

  Args:
    sample: one empty sequence, for shapes.
  """
  network, start = student.pretrained.network, student.pretrained.variables
  if student.quantization != quantized.NONE:
    network = from_linen(
      quantized.learns_in(network.module, student.quantization)
    )

  def computed(network):
    if remat:
      network = as_network(with_precision(network.module, remat=True))
    return in_precision(network, dtype)

  if student.lora is None:
    return computed(network), start
  try:
    return with_lora(
      network,
      start,
      student.lora,
      sample,
      key=jax.random.key(0),
      computed=computed,
    )
  except UserError as error:
    raise UserError(f"--lora: {error}") from None


def stored_network(student: StudentModel) -> Network:
  """The network that a trained student is, as it is saved and loaded.

  Where its activations are rounded, which no number tells, its config says so.
  """
  network, scheme = student.pretrained.network, student.quantization
  if scheme == quantized.NONE or quantized.SCHEMES[scheme].activations is None:
    return network
  return in_few_bits(network, scheme)


def as_stored(student: StudentModel, variables: Any, sample: Any) -> Any:
  """A trained student's variables for `stored_network`, which are what is saved.

  Adapters are added to the kernels; of weights in few bits there are the numbers that
  they stand for, but for a network that rounds them itself.

  Args:
    sample: one empty sequence, for shapes.
  """
  network, scheme = student.pretrained.network, student.quantization
  if scheme == quantized.NONE or quantized.SCHEMES[scheme].activations:
    return without_adapters(student, variables)
  return quantized.rounded_variables(
    network.module, variables, scheme, sample["tokens"]
  )


def without_adapters(student: StudentModel, variables: Any) -> Any:
  """A trained student's variables, with its adapters added to its kernels."""
  return variables if student.lora is None else merge(variables, student.lora)


def check_bits(experiment: Experiment, student: StudentModel) -> None:
  """Refuses few bits for a student that computes in few bits already."""
  bits = student.pretrained.config.get(COMPUTES_IN)
  flags = {
    "quantization": experiment.compression.quantization,
    "lora": experiment.language.lora,
  }
  for flag, value in flags.items():
    if bits and value not in (None, quantized.NONE):
      raise UserError(
        f"--{flag}={value}: the student, {student.text}, computes in {bits}"
        f" already ({COMPUTES_IN} of its config.json)"
      )
