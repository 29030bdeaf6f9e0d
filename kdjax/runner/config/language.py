"""Texts, and what is learned from them."""

import dataclasses

from kdjax.runner.config.field import COUNT, Interval, option


@dataclasses.dataclass(frozen=True)
class SequenceLength:
  """How long texts are for a network."""

  decisive = True
  own_run = True

  sequence_length: int = option(
    512,
    "the most tokens of a text to be classified, what is longer is cut; for lm, those"
    " of a sequence, in which texts are packed one behind the other",
    within=Interval(2),
  )


@dataclasses.dataclass(frozen=True)
class StudentSource:
  """A student that begins with what another network has learned."""

  decisive = True
  own_run = True

  student_from: str | None = option(
    None,
    "the student's beginning: a folder with config.json and safetensors, as Hugging"
    " Face has them; --student=layers(N), width(mlp=0.5) and their like then cut it"
    " out of that. Not for lm: the folder of an earlier run, whose student it was",
  )


@dataclasses.dataclass(frozen=True)
class PretrainedTexts(SequenceLength, StudentSource):
  """Texts as tokens, and a student that has read others before."""

  decisive = True
  own_run = True


@dataclasses.dataclass(frozen=True)
class Text(SequenceLength):
  """Which texts, in sequences of which length."""

  decisive = True
  own_run = True

  text: str | None = option(
    None,
    "texts: a file (.txt, .md, .jsonl, .csv, .tsv, .parquet), a pattern such as"
    " 'novels/*.txt', a folder, an installed package:NAME, or several of them"
    " with commas; rows of `text`, of `prompt` and `completion`, or of `messages`",
  )


@dataclasses.dataclass(frozen=True)
class Documents(Text):
  """Texts, and how they are divided."""

  decisive = True
  own_run = True

  held_out: float = option(
    0.1,
    "share of the documents that are for testing, and share that is for"
    " validation, where no row has a `split`",
    within=Interval(0, 0.5, "()"),
  )


@dataclasses.dataclass(frozen=True)
class Readers(Documents, PretrainedTexts):
  """Texts, how they are divided, and who reads them beside the teacher."""

  decisive = True
  own_run = True

  across: str | None = option(
    None,
    "how a teacher with another tokenizer than the student's is compared: bytes, over"
    " groups of tokens that stand for the same bytes; uld, by sorted probabilities"
    " (Universal Logit Distillation)",
    choices=("bytes", "uld"),
  )


@dataclasses.dataclass(frozen=True)
class Language(Readers):
  """Texts, how they are divided, and how long is learned from them."""

  decisive = True
  own_run = True

  validation_sequences: int = option(
    64,
    "the most sequences of the validation documents that the learning curve and"
    " the choice among rates are measured on",
    within=COUNT,
  )
  steps: int | None = option(
    None,
    "steps of the training; --epochs passes over the texts by default",
    within=COUNT,
  )
  evaluations: int = option(
    10,
    "the most points of the learning curve, evenly spaced: as many as divide the"
    " steps",
    within=COUNT,
  )
  completions: int = option(
    10,
    "how many completions of test documents to show, by teacher, student and"
    " baseline; 0 lets no network write anything after the training",
    within=Interval(0),
  )
  alternatives: str | None = option(
    None,
    "further objectives, with commas between them: the same student learns by each"
    " of them too, at its own best rate, in the same tables",
  )
  policy: str = option(
    "off",
    "whose texts the student learns from: off, the files'; teacher, its answers to"
    " their prompts (sequence-level distillation); student, the student's own"
    " answers (on-policy); mixed(student=0.5), of that share of the batches its"
    " own, of the others the files'; student(teacher=0.2), each token from a mixture"
    " with so much of the teacher; speculative(top_k=25), its own, but for tokens that"
    " are none of the teacher's 25 likeliest, which the teacher draws; adaptive(capacity=1000), its own where the"
    " validation loss rises, and those kept of it",
  )
  updates_per_rollout: int = option(
    1, "steps that are taken on the same texts of the student's", within=COUNT
  )
  prompt_tokens: int = option(
    16,
    "where the student writes: how many first tokens of a document without a"
    " prompt, or of a window of one, are its prompt",
    within=COUNT,
  )
  lora: str | None = option(
    None,
    "low-rank adapters, which alone are trained: rank(16), rank(16, alpha=32,"
    " layers='attention'), or rank(16, weights='nf4') for kernels in few bits"
    " (QLoRA)",
  )
