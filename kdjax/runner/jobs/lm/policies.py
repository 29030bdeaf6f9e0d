"""Whose texts the student learns from, `--policy`; rows as prompts to go on from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core import spec
from kdjax.core.arguments import check_whole
from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.data import text
from kdjax.data.text.examples import Examples, count_bytes
from kdjax.data.text.rows import ANSWER, QUESTION, Row
from kdjax.models.generation.mixture import Combine, mixture, speculative
from kdjax.models.generation.rollout import rollout
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.lm.teachers import Teachers, as_one
from kdjax.runner.pipeline import language_models, texts, values
from kdjax.runner.report.progress import say
from kdjax.train.forward import forward
from kdjax.train.precision import in_precision
from kdjax.train.schemes.adaptive_policy import adaptive_policy
from kdjax.train.schemes.on_policy import on_policy
from kdjax.train.schemes.scheme import OFFLINE, Scheme, in_pieces

# How methods that read which tokens were drawn take them to be drawn.
PLAIN = "temperature(1.0)"
# What students learn by where nothing is named: from files, and from their own.
FROM_FILES = "forward_kl:0.9 + ce:0.1"
FROM_OWN = "generalized_jsd(beta=0.5):1"


class Policy(NamedTuple):
  """Whose texts the student learns from.

  Attributes:
    name: off, teacher, student, mixed, speculative or adaptive.
    share: probability that a batch is the student's own; 0 where none is.
    teacher: its share of what their tokens are drawn from.
    top_k: of how many of the teacher's likeliest tokens each is one, or else drawn
      by the teacher; None where the student's tokens stay.
    adaptive: the settings of `adaptive_policy`, or none.
  """

  name: str
  share: float = 0.0
  teacher: float = 0.0
  top_k: int | None = None
  adaptive: Mapping[str, Any] = {}

  @property
  def writes(self) -> bool:
    """Whether the student writes texts."""
    return self.share > 0 or bool(self.adaptive)

  @property
  def combine(self) -> Combine | None:
    """What tokens are drawn from; None for the student's probabilities alone."""
    if self.top_k is not None:
      return speculative(self.top_k)
    return mixture(self.teacher) if self.teacher else None


def read_policy(experiment: Experiment) -> Policy:
  """Reads `--policy`, or finds the one that the methods ask for.

  Raises:
    UserError: for what is no policy.
  """
  text = values.policy_of(experiment)
  try:
    return spec.build("policy", spec.parse(text), _MAKERS)
  except UserError as error:
    raise UserError(f"--policy: {error}") from None


def with_objective(experiment: Experiment, policy: Policy) -> Experiment:
  """Fills in what the student learns by where no method is named."""
  by_uld = experiment.language.across == "uld"
  if not policy.writes:
    return values.with_objective(experiment, "uld" if by_uld else FROM_FILES)
  default = "uld:1" if by_uld else FROM_OWN
  return values.with_objective(experiment, default, labels=False)


def check_policy(
  experiment: Experiment, policy: Policy, run_values: values.Values
) -> None:
  """Refuses what does not go with texts of the student's own.

  Raises:
    UserError: for a cache of a teacher's answers to other texts, for an objective
      with labels where all texts are the student's, and for one of drawn tokens
      where they are of other weights or another distribution than it takes them.
  """
  if policy.writes and experiment.teacher.teacher_cache:
    raise UserError(
      f"--policy={policy.name}: --teacher_cache knows the files' texts, and not"
      " what the student writes; leave one of them out"
    )
  for objective in (run_values.objective, *run_values.alternatives.values()):
    named = values.methods_of(objective)
    if policy.share == 1 and "ce" in named:
      raise UserError(
        f"--policy={policy.name}: the student's own texts are no labels, and ce"
        f" of {objective.text!r} has nothing to learn from; write it without, as"
        " 'reverse_kl:1'"
      )
    for name in values.DRAWN.keys() & {*named}:
      _check_drawn(experiment, policy, name)


def _check_drawn(experiment: Experiment, policy: Policy, name: str) -> None:
  """Refuses drawn tokens that a method would take for others."""
  updates = experiment.language.updates_per_rollout
  if not policy.share:
    raise UserError(
      f"--policy={policy.name}: {name} learns from tokens that the student draws;"
      f" --policy='{values.DRAWN[name]}' is the one where none is named"
    )
  if language_models.sampling_of(experiment, PLAIN) != PLAIN:
    raise UserError(
      f"--sampling={experiment.continuation.sampling}: {name} takes tokens for"
      f" draws from the student's own probabilities, {PLAIN}"
    )
  if updates > 1:
    raise UserError(
      f"--updates_per_rollout={updates}: {name} takes tokens for draws of the"
      " student's present weights"
    )
  if policy.top_k is not None:
    raise UserError(
      f"--policy={policy.name}: {name} takes tokens for the student's own draws, and"
      " has no weights for the teacher's in their place"
    )
  if policy.teacher and name == "policy_gradient":
    raise UserError(
      f"--policy={policy.name}(teacher={policy.teacher:g}): policy_gradient takes"
      " tokens for the student's own draws; minillm has weights for a mixture"
    )


def with_prompts(
  experiment: Experiment, policy: Policy, tokenizer: Any, all_texts: texts.Texts
) -> texts.Texts:
  """Gives every training row a sequence of its own, a prompt with its answer.

  The prompt of a chat is what stands before its last answer that counts; a
  document is cut into windows, of which the first tokens are the prompt.

  Returns:
    The texts; others than the training's, and all of them where the student
    writes none, are as they were.

  Raises:
    UserError: where no prompt leaves room for what is to be written.
  """
  if not policy.writes:
    return all_texts
  settings, new = experiment.language, experiment.continuation.max_new_tokens
  most = settings.sequence_length - new
  flag = f"--policy={policy.name}"
  if most < 1:
    raise UserError(
      f"{flag}: --max_new_tokens={new} leaves no room for a prompt in"
      f" --sequence_length={settings.sequence_length}"
    )
  part = all_texts.parts["train"]
  rows = [_prompt_row(tokenizer, row, most) for row in part.rows]
  lengths = [len(row.values.get(QUESTION, ())) for row in rows]
  prefix = min(settings.prompt_tokens, most)
  if any("text" in row.values for row in rows):
    lengths.append(prefix)
  width = max(lengths) + new
  try:
    examples = text.make_examples(rows, texts.Answered(tokenizer), width)
  except UserError as error:
    raise UserError(f"{flag}: {error}") from None
  examples = _behind_prefixes(examples, rows, tokenizer, prefix)
  if not examples.examples:
    raise UserError(
      f"{flag}: no training row has a prompt of at most {most} tokens with an"
      " answer behind it; lower --max_new_tokens or --prompt_tokens"
    )
  say(f"prompts for the student: {examples.summary()}")
  sequences = text.pad_out(examples.examples, width, pad=tokenizer.pad)
  train = texts.Part(rows, examples, sequences)
  return all_texts._replace(parts=all_texts.parts | {"train": train})


def scheme_of(setup: Any, steps: int, every: int) -> Scheme:
  """Makes the student's scheme: from given texts, or from its own.

  Args:
    steps: of the training.
    every: steps from one point of the learning curve to the next.
  """
  experiment, policy = setup.experiment, setup.policy
  computing, task = experiment.computing, setup.tokenization.task
  if not policy.writes:
    return in_pieces(OFFLINE, computing.accumulate_steps)
  options = {
    "new_tokens": experiment.continuation.max_new_tokens,
    "batch_size": experiment.student.batch_size,
    "pieces": computing.accumulate_steps,
  }
  write = _writer(
    setup.teachers,
    computing.teacher_dtype,
    policy.combine,
    max_new_tokens=experiment.continuation.max_new_tokens,
    sampling=language_models.sampling_of(experiment, PLAIN),
    eos=tuple(setup.tokenizer.eos),
    vocabulary=task.width,
  )
  if policy.adaptive:
    return adaptive_policy(
      write,
      _validation(setup, task),
      steps=steps,
      every=every,
      **options,
      **policy.adaptive,
    )
  return on_policy(
    write,
    share=policy.share,
    teacher_share=policy.teacher,
    updates=experiment.language.updates_per_rollout,
    **options,
  )


def _writer(
  teachers: Teachers, dtype: str, combine: Combine | None, **settings
) -> Callable[..., Any]:
  """Makes the function by which a student goes on from prompts.

  Args:
    dtype: what teachers compute in.
    combine: what tokens are drawn from; None for the student alone.
    **settings: those of `rollout`.
  """

  def write(network, variables, prompts, *, teacher, **options):
    beside = None
    if combine is not None:
      teacher_network = in_precision(teachers.together.network, dtype)
      beside = teacher_network, as_one(teachers, teacher), combine
    return rollout(
      network,
      variables,
      prompts,
      teacher=beside,
      **options,
      **settings,
    )

  return write


def _validation(setup: Any, task: Task) -> Callable[..., Any]:
  """Makes the function that measures a network on the validation documents."""
  settings = setup.experiment
  sequences = setup.texts.parts["validation"].sequences
  most = min(settings.language.validation_sequences, len(sequences["tokens"]))
  size = min(settings.student.batch_size, most)
  parts = {
    name: x[: most // size * size].reshape(-1, size, x.shape[1])
    for name, x in sequences.items()
  }

  def validate(network, variables, due):
    def more(carry):
      return carry[0] < jnp.where(due, most // size, 0)

    def add(carry):
      number, *sums = carry
      part = {name: jnp.asarray(x)[number] for name, x in parts.items()}
      _, rows = forward(network, variables, task.batch(part), (), task)
      score = task.metrics[task.score](rows)
      return number + 1, *(x + y for x, y in zip(sums, score, strict=True))

    first = jnp.int32(0), jnp.float32(0), jnp.int32(0)
    _, total, count = jax.lax.while_loop(more, add, first)
    return total / jnp.maximum(count, 1)

  return validate


def _prompt_row(tokenizer: Any, row: Row, most: int) -> Row:
  """A row's prompt and last answer as ids; no answer where the prompt is long."""
  if "text" in row.values:
    return row
  ids, counts = tokenizer.tokenize(row.values)
  edges = np.flatnonzero(np.diff(counts, prepend=False, append=False))
  first, end = edges[-2:] if edges.size else (0, 0)
  if first > most:
    first = end = 0
  answered = {QUESTION: ids[:first], ANSWER: ids[first:end]}
  # What it was is read by a teacher with another tokenizer.
  return Row({**row.values, **answered}, row.place)


def _behind_prefixes(
  examples: Examples, rows: Sequence[Row], tokenizer: Any, prefix: int
) -> Examples:
  """Lets windows of documents count behind their first tokens alone."""
  kept = []
  for example in examples.examples:
    if "text" in rows[example.row].values:
      behind = np.arange(len(example.tokens)) >= prefix
      example = example._replace(counts=example.counts & behind)
    if example.counts.any():
      kept.append(example)
  return examples._replace(
    examples=kept,
    tokens=sum(len(one.tokens) for one in kept),
    learned=int(sum(one.counts.sum() for one in kept)),
    bytes=sum(count_bytes(tokenizer, one.tokens, one.counts) for one in kept),
  )


def _student(teacher: float = 0.0) -> Policy:
  _check_share("teacher", teacher, 0 <= teacher < 1, "[0, 1)")
  return Policy("student", 1.0, float(teacher))


def _mixed(student: float = 0.5, teacher: float = 0.0) -> Policy:
  _check_share("student", student, 0 < student < 1, "(0, 1)")
  return _student(teacher)._replace(name="mixed", share=float(student))


def _speculative(top_k: int = 25) -> Policy:
  return Policy("speculative", 1.0, top_k=check_whole("top_k", top_k))


def _adaptive(
  capacity: int = 1000, tolerance: float = 0.1, rise: float = 0.1
) -> Policy:
  settings = {
    "capacity": check_whole("capacity", capacity),
    "tolerance": tolerance,
    "rise": rise,
  }
  for name in ("tolerance", "rise"):
    _check_share(name, settings[name], 0 < settings[name] <= 1, "(0, 1]")
  return Policy("adaptive", adaptive=settings)


def _check_share(name: str, value: Any, fits: bool, possible: str) -> None:
  if isinstance(value, bool) or not fits:
    raise ValueError(f"{name} must be a number in {possible}, got {value!r}")


_MAKERS: dict[str, Callable[..., Policy]] = {
  "off": lambda: Policy("off"),
  "teacher": lambda: Policy("teacher"),
  "student": _student,
  "mixed": _mixed,
  "speculative": _speculative,
  "adaptive": _adaptive,
}
