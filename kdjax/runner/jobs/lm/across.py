"""`--across`: a teacher that reads the texts by another tokenizer than the student."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher
from kdjax.data import text
from kdjax.data.text.beside import Coverage
from kdjax.data.text.rows import ANSWER, QUESTION
from kdjax.evaluate.across_tokenizers import compare_across_tokenizers
from kdjax.evaluate.language import measure_texts
from kdjax.methods._aligned import over_groups
from kdjax.models.pretrained.load import Pretrained
from kdjax.models.tokenizers import (
  encode_bytes,
  prompt_ids,
  shared_ids,
)
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.lm.policies import Policy
from kdjax.runner.jobs.lm.tokenization import Tokenization, measure_of
from kdjax.runner.pipeline import language_models
from kdjax.runner.pipeline.texts import Answered, Part, Texts, make_part
from kdjax.runner.pipeline.values import policy_of
from kdjax.runner.report import reading
from kdjax.runner.report.progress import say
from kdjax.taps.network import Network
from kdjax.tasks import language_model
from kdjax.train.aligned_teacher import aligned_teacher, as_aligned

# Before what the teacher reads, among the stored arrays.
_PREFIX = "teacher_"


def check(experiment: Experiment, policy: Policy) -> None:
  """Refuses what does not go with `--across`."""
  settings = experiment.language
  if settings.across is None:
    return
  for flag, value, why in (
    (
      "policy",
      policy_of(experiment) if policy.combine else None,
      "the teacher has other tokens, and none can be drawn from both together",
    ),
  ):
    if value:
      raise UserError(
        f"--across={settings.across} does not go with --{flag}={value}: {why}"
      )
  if settings.student_from is None:
    raise UserError(
      f"--across={settings.across} is for a student with a tokenizer of its own;"
      " --student_from=FOLDER names it"
    )


def two_tokenizers(
  experiment: Experiment,
  texts: Texts,
  teacher: Pretrained,
  *,
  tokenizer: Any,
  width: int,
  writes: bool,
) -> Tokenization:
  """Reads the texts by the teacher's tokenizer too, and says what came of it.

  Args:
    texts: as the student reads them.
    tokenizer: the student's.
    width: how many of its tokens the student has logits for.
    writes: whether it writes what it learns from; the teacher then reads in the step.
  """
  settings = experiment.language
  flag = f"--teacher_from={experiment.teacher.teacher_from}"
  readers = language_models.readers(
    f"--student_from={settings.student_from}",
    tokenizer,
    flag,
    teacher.tokenizer,
  )
  inputs, coverage, read = {}, {}, None
  for split, part in texts.parts.items():
    if writes and split == "train":
      how, coverage[split] = text.rereading(
        part.examples.examples,
        part.rows,
        *readers,
        partial(encode_bytes, *readers[1]),
        new_tokens=experiment.continuation.max_new_tokens,
      )
      read = partial(text.reread, how)
      inputs[split] = _of_files(read, part)
    else:
      inputs[split], coverage[split] = text.put_beside(
        part.sequences, part.examples.examples, part.rows, *readers
      )
  task, teacher_task = (
    language_model(width),
    _teacher_task(flag, teacher, inputs),
  )
  shared = tuple(map(np.array, shared_ids(tokenizer, teacher.tokenizer)))
  alignment = {
    "shared_tokens": len(shared[0]),
    "student_tokens": tokenizer.vocabulary_size,
    "teacher_tokens": teacher.tokenizer.vocabulary_size,
    "splits": {split: _shares(split, one) for split, one in coverage.items()},
  }
  test = texts.parts["test"]
  classes = {
    "vocabulary": teacher_task.width,
    "factored_from": teacher_task.factored_from,
  }
  live = aligned_teacher(
    teacher.network,
    teacher.variables,
    dtype=experiment.computing.teacher_dtype,
    read=read,
    **classes,
  )
  # What the student writes is not known before.
  stored = {} if writes else inputs["train"]
  return Tokenization(
    task=_with_teacher_inputs(task, stored),
    teacher=live,
    teacher_task=teacher_task,
    measure_teacher=measure_of(
      experiment,
      make_part(test.rows, teacher.tokenizer, settings.sequence_length),
      teacher_task,
    ),
    measure_students=partial(
      _measure_students,
      test=test,
      teacher=live,
      teacher_sequences=inputs["test"],
      shared_ids=shared,
      task=task,
      batch_size=experiment.student.batch_size,
    ),
    # Only that can be compared with a teacher that has other tokens.
    scored_task=task._replace(
      score=reading.BITS.name, words=reading.BITS.words
    ),
    same_ids=False,
    teacher_prompt=lambda ids: prompt_ids(
      teacher.tokenizer, {"prompt": tokenizer.decode(ids)}
    )[-settings.sequence_length :],
    teacher_inputs=_named(stored),
    views={"view": _student_view, "teacher_view": _teacher_view},
    answered=partial(_answered, readers),
    beside=partial(_beside, flag, teacher, readers, alignment),
    of_cache=partial(as_aligned, **classes),
    adapt=partial(over_groups, across=settings.across, shared_ids=shared),
    results={"alignment": alignment, "compared_by": reading.BITS.name},
    fingerprints={
      "sha256 of what the teacher reads": storage.digest(inputs["train"])
    },
  )


def _answered(
  readers: Sequence[text.Reader],
  values: Mapping[str, Any],
  question: Sequence[int],
  answer: Sequence[int],
) -> dict[str, Any]:
  """A row that the teacher has answered, as both read it."""
  (own, own_pieces), (other, pieces) = readers
  written = b"".join(pieces[x] or b"" for x in answer)
  own_answer = encode_bytes(own, own_pieces, written, later=True)
  if len(answer) and answer[-1] in other.eos:
    # What ends the file's answer: in a chat, a turn.
    ids, counts = own.tokenize(values)
    last = ids[int(np.flatnonzero(counts)[-1])]
    own_answer += [last] if own_pieces[last] is None else []
  return {
    QUESTION: prompt_ids(own, values),
    ANSWER: own_answer,
    _PREFIX + QUESTION: question,
    _PREFIX + ANSWER: answer,
  }


def _beside(
  flag: str,
  teacher: Pretrained,
  readers: Sequence[text.Reader],
  alignment: Mapping[str, Any],
  part: Part,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """What the teacher reads beside sequences of rows that it has answered."""
  arrays, coverage = text.put_beside(
    part.sequences,
    part.examples.examples,
    part.rows,
    *(
      reader._replace(tokenizer=Answered(reader.tokenizer, whose))
      for reader, whose in zip(readers, ("", _PREFIX), strict=True)
    ),
  )
  language_models.count_classes(flag, teacher, arrays["tokens"].shape[1])
  splits = {**alignment["splits"], "answers": _shares("answers", coverage)}
  results = {"alignment": {**alignment, "splits": splits}}
  results["compared_by"] = reading.BITS.name
  return _named(arrays), {"results": results}


def _named(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {_PREFIX + name: x for name, x in arrays.items()}


def _of_files(
  read: Callable[..., dict[str, np.ndarray]], part: Part
) -> dict[str, np.ndarray]:
  """What the teacher reads of the files' texts where it reads within the step."""
  sequences = part.sequences
  tokens = np.where(sequences["mask"], sequences["tokens"], -1)
  return read(np.arange(len(tokens)), tokens, sequences["counts"])


def _teacher_task(
  flag: str,
  teacher: Pretrained,
  inputs: Mapping[str, Mapping[str, np.ndarray]],
) -> Task:
  """What the teacher's answers mean; refuses one that cannot read its inputs."""
  longest = max(arrays["tokens"].shape[1] for arrays in inputs.values())
  classes = language_models.count_classes(flag, teacher, longest)
  tokens = teacher.tokenizer.vocabulary_size
  language_models.say_padding("teacher", classes, tokens)
  return language_model(min(classes, tokens))


def _measure_students(
  network: Network,
  members: Callable[[], Iterable[Any]],
  *,
  test: Part,
  teacher: Teacher,
  teacher_sequences: Mapping[str, np.ndarray],
  shared_ids: tuple[np.ndarray, np.ndarray],
  **options,
) -> list[dict[str, float]]:
  """Students' scores on the test documents, and their distances from the teacher."""
  scores_of_each = measure_texts(
    network,
    members,
    test.sequences,
    text_bytes=test.examples.bytes,
    **options,
  )
  distances = compare_across_tokenizers(
    network,
    members,
    teacher,
    test.sequences,
    teacher_sequences,
    shared_ids=shared_ids,
    **options,
  )
  return [a | b for a, b in zip(scores_of_each, distances, strict=True)]


def _shares(split: str, coverage: Coverage) -> dict[str, float]:
  """What results.json says of a split's alignment, said aloud too."""
  tokens, size = max(coverage.tokens, 1), max(coverage.bytes, 1)
  shares = {
    "one_to_one": coverage.single / tokens,
    "merged": coverage.merged / tokens,
    "left_out": 1 - (coverage.single + coverage.merged) / tokens,
    "merged_bytes": coverage.merged_bytes / size,
    "left_out_bytes": coverage.left_out_bytes / size,
    "teacher_tokens": coverage.teacher_tokens,
  }
  say(
    f"{split}: of the student's tokens {100 * shares['one_to_one']:.1f} % are one of"
    f" the teacher's, {100 * shares['merged']:.1f} % are in groups of several,"
    f" {100 * shares['left_out']:.1f} % are not compared"
  )
  return shares


def _with_teacher_inputs(
  task: Task, teacher_inputs: Mapping[str, np.ndarray]
) -> Task:
  """The task whose empty batches have something for the teacher too."""
  shapes = {name: (x.shape[1:], x.dtype) for name, x in teacher_inputs.items()}

  def sample(inputs):
    batch = task.sample(inputs)
    empty = {
      name: jnp.zeros((len(batch.index), *shape), dtype)
      for name, (shape, dtype) in shapes.items()
    }
    return batch._replace(extra={**batch.extra, "teacher_inputs": empty})

  return task._replace(sample=sample)


def _student_view(key: Any, stored: Mapping[str, Any], positions: Any) -> dict:
  """What the student sees of stored sequences."""
  return {k: x for k, x in stored.items() if not k.startswith(_PREFIX)}


def _teacher_view(key: Any, stored: Mapping[str, Any], positions: Any) -> dict:
  """What the teacher sees of them."""
  return {
    k.removeprefix(_PREFIX): x
    for k, x in stored.items()
    if k.startswith(_PREFIX)
  }
