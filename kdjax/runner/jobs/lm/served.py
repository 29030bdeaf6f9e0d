"""A teacher behind an endpoint, `--teacher_from=http://...`: one that is only asked."""

from kdjax.core.errors import TeacherError, UserError
from kdjax.core.teacher import Teacher
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.lm.networks import StudentModel
from kdjax.runner.jobs.lm.policies import Policy
from kdjax.runner.jobs.lm.teachers import SERVED, Teachers, is_served
from kdjax.runner.jobs.lm.tokenization import TOP, Tokenization, same_tokens
from kdjax.runner.pipeline.texts import Texts
from kdjax.runner.pipeline.validate import (
  check_likeliest_suffice,
  likeliest_read,
)
from kdjax.runner.pipeline.values import Values, with_objective
from kdjax.runner.report.progress import say
from kdjax.tasks import language_model
from kdjax.train.served.measure import measure_served
from kdjax.train.served.self_test import check_repeatable
from kdjax.train.served.teacher import asker_of, served_teacher

# The first test's text: tokens at least, and at most.
_SHORT, _LONG = 4, 64


def with_default(experiment: Experiment, policy: Policy) -> Experiment:
  """Fills in what the student learns by where no method is named."""
  if not is_served(experiment):
    return experiment
  default = "topk_kd:1" if policy.writes else "topk_kd:0.9 + ce:0.1"
  return with_objective(experiment, default, labels=not policy.writes)


def check(experiment: Experiment, policy: Policy, values: Values) -> None:
  """Refuses what needs more of a teacher than its likeliest tokens."""
  if not is_served(experiment):
    return
  flag = f"--teacher_from={experiment.teacher.teacher_from}"
  settings = experiment.language
  if settings.student_from is None:
    raise UserError(
      f"{flag}: nothing can be cut out of a served teacher, and it tells no"
      " tokenizer; --student_from=FOLDER names a student that reads as it does"
    )
  for name, value, why in (
    ("across", settings.across, "token ids are sent, the student's"),
    ("mesh", experiment.computing.mesh, "each device asks about its own rows"),
    (
      "policy",
      policy.name if policy.name == "teacher" or policy.combine else None,
      "it is asked about texts, and writes none",
    ),
  ):
    if value:
      raise UserError(f"{flag} does not go with --{name}={value}: {why}")
  for objective in (values.objective, *values.alternatives.values()):
    check_likeliest_suffice(objective, flag)


def with_tokenizer(teachers: Teachers, student: StudentModel) -> Teachers:
  """Gives a served teacher the student's tokenizer; it tells none itself."""
  if teachers.together is not SERVED:
    return teachers
  one = SERVED._replace(tokenizer=student.pretrained.tokenizer)
  return teachers._replace(members=(one,), together=one)


def open_served(
  experiment: Experiment, values: Values, texts: Texts, width: int
) -> Tokenization:
  """Finds the teacher, tests it, and says what follows from asking it alone.

  Args:
    width: how many token ids there are.
  """
  url, test = experiment.teacher.teacher_from, texts.parts["test"]
  top_k = min(
    max(map(likeliest_read, [values.objective, *values.alternatives.values()])),
    width - 1,
  )
  say(f"teacher {url}: asked for the {top_k} likeliest tokens")
  try:
    teacher = served_teacher(url, classes=width, top_k=top_k)
    _test(teacher, texts)
  except TeacherError as error:
    raise UserError(f"--teacher_from={url}: {error}") from None
  task = language_model(width)
  found = same_tokens(
    experiment,
    test,
    task,
    teacher,
    lambda *_: measure_served(
      teacher,
      test.sequences,
      task=task,
      text_bytes=test.examples.bytes,
      top=[k for k in TOP if k <= top_k],
    ),
  )
  return found._replace(
    results={"served": {"model": asker_of(teacher).model, "top_k": top_k}},
    fingerprints={"served model": asker_of(teacher).model},
  )


def _test(teacher: Teacher, texts: Texts) -> None:
  examples = texts.parts["train"].examples.examples
  found = [one.tokens for one in examples if len(one.tokens) >= _SHORT]
  if found:
    check_repeatable(asker_of(teacher), found[0][:_LONG])
