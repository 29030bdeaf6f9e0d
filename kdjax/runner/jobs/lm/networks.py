"""Who teaches and who learns: language models, loaded, cut out, or new ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.models import ModelSpec, pretrained
from kdjax.models.pretrained.architectures import config_of
from kdjax.models.pretrained.cut import CUTS, read_cut
from kdjax.models.pretrained.load import Pretrained, network_of
from kdjax.models.tokenizers.tokenizer import Tokenizer
from kdjax.runner.config import Experiment
from kdjax.taps.network import Network
from kdjax.train.precision import as_network, in_precision, with_precision

# A student that is left open: every other block of the teacher.
DEFAULT = "every(2)"


class Student(NamedTuple):
  """The network that learns.

  Attributes:
    text: what it is, for people.
    network: as it is saved.
    variables: what it begins with; None where each seed draws its own.
  """

  text: str
  network: Network
  variables: Any


def load_teacher(where: str) -> Pretrained:
  """Loads the teacher, with the tokenizer that all texts are read with."""
  teacher = _load("teacher_from", where)
  if teacher.tokenizer is None:
    raise UserError(
      f"--teacher_from={where}: there is no tokenizer.json, without which texts"
      " cannot be read"
    )
  return teacher


def make_student(
  experiment: Experiment, model: ModelSpec | None, teacher: Pretrained
) -> Student:
  """Loads the student, cuts it out of the teacher, or builds a new one.

  Args:
    model: what --student says; None where it is left open.

  Raises:
    UserError: for a student with another tokenizer than the teacher's, a network
      that does not read texts, or one that nobody could load again.
  """
  where = experiment.language.student_from
  if where is not None:
    if model is not None:
      raise UserError(
        f"--student={model} and --student_from={where}: each names the student;"
        " leave one of them out"
      )
    student = _load("student_from", where)
    _check_tokenizer(experiment, student.tokenizer, teacher.tokenizer)
    return Student(where, student.network, student.variables)
  if model is None or model.spec.name in CUTS:
    text = DEFAULT if model is None else model.text
    try:
      student = pretrained.cut(teacher, read_cut(text))
    except UserError as error:
      raise UserError(f"--student={text}: {error}") from None
    return Student(text, student.network, student.variables)
  module = model.make(classes=classes_of(teacher))
  try:
    config_of(module)
  except UserError:
    raise UserError(
      f"--student={model}: it has no form that other programs load, and could not"
      " be saved; possible: decoder(...), layers(N), every(N), blocks([...]), or"
      " --student_from"
    ) from None
  return Student(model.text, network_of(module), None)


def classes_of(teacher: Pretrained) -> int:
  """How many token ids a network has a logit for."""
  return answer_shape(teacher.network, teacher.variables, 2)[-1]


def inputs(length: int) -> dict[str, jax.Array]:
  """One empty sequence, (1, T), for shapes."""
  tokens = jnp.zeros((1, length), jnp.int32)
  whole = jnp.ones_like(tokens)
  return {"tokens": tokens, "mask": whole.astype(bool), "segments": whole}


def answer_shape(network: Network, variables: Any, length: int) -> tuple:
  """The shape of what a network answers to one sequence.

  Args:
    variables: arrays, or None for drawn ones.
  """

  def answers(variables, shown):
    if variables is None:
      variables = network.init(jax.random.key(0), shown)
    return network.apply(variables, shown)[0]

  return jax.eval_shape(answers, variables, inputs(length)).shape


def check_answers(
  flag: str, network: Network, variables: Any, length: int
) -> int:
  """Checks that a network answers every token of a sequence; returns V."""
  try:
    shape = answer_shape(network, variables, length)
  except (TypeError, ValueError) as error:
    message = str(error).split("\n")[0]
    raise UserError(f"{flag}: {message}") from None
  if len(shape) != 3 or shape[:2] != (1, length):
    raise UserError(
      f"{flag}: its answers to {length} tokens are {list(shape)}; a language model"
      " has one logit a token of its vocabulary at every place"
    )
  return shape[-1]


def as_computed(network: Network, *, dtype: str, remat: bool) -> Network:
  """Makes a network compute in the run's precision."""
  if remat:
    network = as_network(with_precision(network.module, remat=True))
  return in_precision(network, dtype)


def _load(flag: str, where: str) -> Pretrained:
  try:
    return pretrained.load(where)
  except UserError as error:
    raise UserError(f"--{flag}={where}: {error}") from None


def _check_tokenizer(
  experiment: Experiment, own: Tokenizer | None, teacher: Tokenizer
) -> None:
  # A folder without one is taken at its word.
  if own is None or own.fingerprint == teacher.fingerprint:
    return
  raise UserError(
    f"--student_from={experiment.language.student_from} has another tokenizer"
    f" ({own.vocabulary_size} ids) than --teacher_from="
    f"{experiment.teacher.teacher_from} ({teacher.vocabulary_size} ids): the same"
    " id would be another token for each"
  )
