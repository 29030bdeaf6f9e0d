"""Language models on texts.

lm: What `launch.py lm` does where nothing else is said: half of a teacher's blocks, healed.

  python launch.py lm --text='novels/*.txt' --teacher_from=FOLDER

lm_demo: Prune and heal in minutes: 6 of SmolLM2's 30 blocks, on the pages of docs/.

  make demo-lm

Three orders of 6,000 tokens each, one rate for student and baseline: three minutes of
two CPU cores, and far from healed.

lm_prune_and_heal_rates: Which rate suits student and baseline of `lm_prune_and_heal`?

  make experiments RUNS=lm:lm_prune_and_heal_rates

One order of the texts, four rates for either arm, chosen on validation documents.

lm_prune_and_heal: Does a teacher heal a pruned network better than the texts alone?

  make experiments RUNS=lm:lm_prune_and_heal

6 of SmolLM2's 30 blocks learn from novels (Jane Austen's), each part of them once, in
three orders; what the teacher says of the novels is stored once for all.

Nats a token: student 5.26 ± 0.02, baseline 5.59 ± 0.00, teacher 3.68, before training 15.72.
Both at the rate 1e-3, the best of four for the baseline; the student's own best is 3e-3, by
0.02 nats. On other texts, the pages of docs/, 7.86 and 8.68.

lm_prune_and_heal_10_rates: Which rate suits student and baseline of `lm_prune_and_heal_10`?

  make experiments RUNS=lm:lm_prune_and_heal_10_rates

lm_prune_and_heal_10: As `lm_prune_and_heal`, with 10 blocks.

  make experiments RUNS=lm:lm_prune_and_heal_10

Nats a token: student 5.03 ± 0.04, baseline 5.30 ± 0.03, before training 16.03; both at their
best rate of four, 1e-3. On the pages of docs/ 7.34 and 8.26.

lm_small_teacher: A small GPT of four blocks on four novels: the teacher of `lm_data_size`.

  make runs/lm_small_teacher/results.json

Its baseline is trained on the same loss and is the same network.

lm_data_size_4: How do the divergences differ as texts grow scarce?

  make experiments RUNS="lm:lm_data_size_4 lm:lm_data_size_16 lm:lm_data_size_64 lm:lm_data_size_256"

A GPT of two blocks learns from 4 parts of novels of 2,000 characters each: by five
divergences, and by the next tokens alone. Equally many steps, five seeds, three rates
for each arm, of which validation documents choose one.

Nats a token, baseline and forward KL: 5.98 and 5.00 with 4 parts, 5.63 and 4.95 with 16,
5.52 and 4.97 with 64, 5.48 and 4.97 with 256; skew KL is next, then the total
variation, the Jensen-Shannon divergence and the reverse KL (docs/language_models.md).

lm_data_size_16: As `lm_data_size_4`, with 16 parts of novels.

lm_data_size_64: As `lm_data_size_4`, with 64 parts of novels.

lm_data_size_256: As `lm_data_size_4`, with 256 parts of novels.

lm_other_tokenizer: Does a teacher with another tokenizer heal a pruned network too?

  make experiments RUNS="lm:lm_other_tokenizer lm:lm_own_tokenizer"

6 of SmolLM2's 30 blocks learn from Gemma 3 270M (a base network, of 262,144 tokens) on
novels by groups of equal bytes, and from the texts alone (baseline). 32 steps of a
sequence of 128 tokens, three orders, one rate, so that it fits a small CPU.

Bits a byte: student 2.44 ± 0.01, baseline 2.50 ± 0.03 (better in 3 of 3 orders, p = 0.11),
teacher 1.97, before training 5.84. 16.7 GB of memory.

lm_other_tokenizer_uld: As `lm_other_tokenizer`, by ULD beside the texts' own tokens.

  make experiments RUNS=lm:lm_other_tokenizer_uld

Bits a byte: student 2.63 ± 0.04, baseline 2.50 ± 0.03 (worse in 3 of 3 orders, p = 0.013),
teacher 1.97. 16 GB of memory.

lm_own_tokenizer: As `lm_other_tokenizer`, SmolLM2 itself teaches: what a teacher of the
student's own family gives.

Bits a byte: student 2.37 ± 0.02, baseline 2.50 ± 0.03, teacher 1.44, before training 5.84.

lm_sequence_level: Does a student learn more from its teacher's answers than from the files'?

  make experiments RUNS=lm:lm_sequence_level

What words mean, as WordNet has it: 6 of SmolLM2's 30 blocks learn from its greedy
answers to 256 prompts (Kim & Rush 2016), by their tokens alone and by its distributions
too; the baseline learns from WordNet's own answers. Three orders, all arms at the rate
that suits this cut by `lm_prune_and_heal_rates`.

Nats a token of WordNet's answers: 9.55 ± 0.16 by the teacher's answers, 8.09 ± 0.09 by its
distributions on them, 6.98 ± 0.03 by WordNet's (baseline), teacher 5.17. The teacher writes
otherwise than WordNet: on the same answers they are nearer to it than the baseline, KL 4.39,
3.78 and 5.03.

lm_words_teacher: A small GPT of four blocks on WordNet: the teacher of `lm_on_policy_own`.

  make runs/lm_words_teacher/results.json

lm_on_policy_own: Does a student gain from its own texts, and by which loss?

  make experiments RUNS="lm:lm_on_policy_off lm:lm_on_policy_half lm:lm_on_policy_own"
  make experiments RUNS="lm:lm_on_policy_minillm lm:lm_on_policy_distillm lm:lm_on_policy_teacher"

What words mean, as WordNet has it, by a GPT of two blocks that writes each text it learns
from (GKD with a student's share of 1), by three divergences and by policy gradients. 300
steps of 4 prompts, three orders, two rates for each arm; the baseline learns from the
file's answers. So small that each takes a small CPU some minutes.

KL from the teacher behind token 16 of its own texts: 1.12 by the forward KL, 1.09 by the
Jensen-Shannon divergence, 1.42 by the reverse KL; policy gradients end all texts at once.

lm_on_policy_off: As `lm_on_policy_own`, from the file's answers (a share of 0).

The same: 1.05, 1.18 and 1.41 (docs/language_models.md); 1.42 for the baseline.

lm_on_policy_half: As `lm_on_policy_own`, half of the batches from the file's answers.

The same: 1.11, 1.13 and 1.63.

lm_on_policy_minillm: As `lm_on_policy_own`, by MiniLLM.

The same: 2.02.

lm_on_policy_distillm: As `lm_on_policy_own`, by DistiLLM.

The same: 1.18; its validation loss never rose, and it learned from the file alone.

lm_on_policy_teacher: As `lm_on_policy_own`, by the tokens of the teacher's answers.

2.50 behind token 16, of 22.

lm_two_teachers: Are two teachers of half the texts each worth more than either?

  make experiments RUNS="lm:lm_two_teachers lm:lm_two_teachers_novels lm:lm_two_teachers_words"

A GPT of two blocks learns from novels and from what words mean, from a GPT that knows
the novels and one that knows the words, whose probabilities are averaged.

Nats a token: 5.61 ± 0.16 by both, 5.60 ± 0.03 by the one of novels, 5.91 ± 0.09 by the one
of words, baseline 5.86 ± 0.05: pooled they teach no better than the better one.

lm_two_teachers_novels: As `lm_two_teachers`, from the one that knows the novels alone.

lm_two_teachers_words: As `lm_two_teachers`, from the one that knows the words alone.

lm_lora: What do adapters cost against training all weights?

  make experiments RUNS="lm:lm_lora lm:lm_lora_full"

The GPT that knows novels learns what words mean from the one that does, by adapters of
rank 8 in all its linear layers: student and baseline.

Nats a token, student and baseline: 5.07 ± 0.00 and 5.12 ± 0.01 by adapters, 4.58 ± 0.01 and
4.79 ± 0.02 by all weights, 5.80 before training.

lm_lora_full: As `lm_lora`, all weights.
"""

import dataclasses

from kdjax.runner.config import (
  Computing,
  Continuation,
  Distillation,
  Experiment,
  Language,
  Run,
  Search,
  Student,
  Teacher,
)

_WORDS = Distillation(distillation="forward_kl:0.9 + ce:0.1")
_STUDENT = Student(
  epochs=1,
  batch_size=8,
  seeds=3,
  learning_rate=3e-4,
  optimizer="adamw(b2=0.95, weight_decay=0.1, decay_norms=False, clip=1.0)",
  schedule="cosine(warmup=0.05)",
)


def _student(**settings) -> Student:
  return dataclasses.replace(_STUDENT, **settings)


# One sequence of 256 tokens a step: on a CPU steps are worth more than tokens.
_HEALED = Experiment(
  language=Language(
    text="runs/texts/novels_healing.jsonl",
    sequence_length=256,
    evaluations=4,
    validation_sequences=12,
    completions=6,
  ),
  teacher=Teacher(teacher_from="package:smollm2"),
  student=_student(model="layers(6)", batch_size=1, learning_rate=1e-3),
  distillation=_WORDS,
)

_HEALED_10 = dataclasses.replace(
  _HEALED, student=dataclasses.replace(_HEALED.student, model="layers(10)")
)


def _rates(experiment: Experiment) -> Experiment:
  """One order at each of four rates, whose networks are compared alone."""
  return dataclasses.replace(
    experiment,
    language=dataclasses.replace(experiment.language, completions=0),
    student=dataclasses.replace(experiment.student, seeds=1),
    search=Search(rates=(3e-4, 1e-3, 3e-3, 1e-2)),
  )


def _small_gpt(*, learning_rate: float, **settings) -> Experiment:
  """The network of `text/small_gpt.py`, trained to be a teacher."""
  folder = "runs/texts/small_gpt"
  return Experiment(
    language=Language(
      student_from=folder, sequence_length=64, completions=0, **settings
    ),
    teacher=Teacher(teacher_from=folder),
    student=_student(batch_size=16, seeds=1, learning_rate=learning_rate),
    distillation=Distillation(distillation="hard"),
  )


def _data_size(parts: int) -> Experiment:
  """As much of the novels as so many parts of 2,000 characters."""
  kinds = "reverse_kl", "skew_kl(lam=0.1)", "generalized_jsd(beta=0.5)", "tvd"
  return Experiment(
    language=Language(
      text=f"runs/texts/novels_{parts}.jsonl",
      sequence_length=64,
      steps=300,
      evaluations=3,
      completions=0,
      alternatives=", ".join(f"{kind}:0.9 + ce:0.1" for kind in kinds),
    ),
    teacher=Teacher(teacher_from="runs/lm_small_teacher"),
    student=_student(
      model="decoder(family='gpt2', width=64, depth=2, heads=4, positions=64)",
      batch_size=4,
      seeds=5,
    ),
    distillation=_WORDS,
    search=Search(rates=(1e-3, 3e-3, 1e-2)),
  )


_FROM_GEMMA = Experiment(
  language=Language(
    text="runs/texts/novels_healing.jsonl",
    student_from="package:smollm2",
    across="bytes",
    sequence_length=128,
    steps=32,
    evaluations=2,
    validation_sequences=12,
    completions=0,
  ),
  teacher=Teacher(teacher_from="package:gemma3-270m"),
  student=_student(model="layers(6)", batch_size=1, learning_rate=1e-3),
  distillation=_WORDS,
  computing=Computing(members_at_once=2),
  # A checkpoint of six students takes 4 GB of memory while it is written.
  run=Run(checkpoint_minutes=300),
)


def _policy(
  policy: str, *objectives: str, batch_size: int = 4, new_tokens: int = 32
) -> Experiment:
  """What words mean, from the files' answers, the student's or the teacher's."""
  first, *others = objectives
  return Experiment(
    language=Language(
      text="runs/texts/words.jsonl",
      sequence_length=64,
      steps=300,
      evaluations=3,
      policy=policy,
      alternatives=", ".join(others) or None,
    ),
    continuation=Continuation(max_new_tokens=new_tokens),
    teacher=Teacher(teacher_from="runs/lm_words_teacher"),
    student=_student(
      model="decoder(family='gpt2', width=64, depth=2, heads=2, positions=64)",
      batch_size=batch_size,
    ),
    distillation=Distillation(distillation=first),
    search=Search(rates=(3e-3, 1e-2)),
  )


def _two_teachers(*folders: str) -> Experiment:
  """A GPT of two blocks on novels and WordNet, from those who know either."""
  return Experiment(
    language=Language(
      text="runs/texts/novels_192.jsonl,runs/texts/words.jsonl",
      sequence_length=64,
      steps=150,
      evaluations=3,
      completions=0,
    ),
    teacher=Teacher(teacher_from=",".join(folders)),
    student=_student(
      model="decoder(family='gpt2', width=64, depth=2, heads=4, positions=64)",
      batch_size=4,
    ),
    distillation=_WORDS,
    search=Search(rates=(3e-3, 1e-2)),
  )


_NOVELS, _DEFINITIONS = "runs/lm_small_teacher", "runs/lm_words_teacher"


def _lora(lora: str | None) -> Experiment:
  """The GPT that learned from novels learns from the one of WordNet."""
  return Experiment(
    language=Language(
      text="runs/texts/words.jsonl",
      student_from=f"{_NOVELS}/student",
      lora=lora,
      sequence_length=64,
      steps=100,
      evaluations=2,
      completions=0,
    ),
    teacher=Teacher(teacher_from=_DEFINITIONS),
    student=_student(batch_size=4),
    distillation=_WORDS,
    search=Search(rates=(1e-3, 5e-3)),
  )


_KLS = "forward_kl:1", "reverse_kl:1", "generalized_jsd(beta=0.5):1"
_ON_POLICY = {
  # Packed: three sequences have as many answers as four rows.
  "off": _policy("off", *_KLS, batch_size=3),
  "half": _policy("mixed(student=0.5)", *_KLS),
  "own": _policy("student", *_KLS, "policy_gradient:1"),
  "minillm": _policy("student(teacher=0.2)", "minillm:1"),
  "distillm": _policy("adaptive", "distillm"),
  # The teacher reads 64 tokens, 42 of which are the longest prompt.
  "teacher": _policy("teacher", "hard", batch_size=3, new_tokens=22),
}


EXPERIMENTS = {
  # Steps may take seconds: a signal waits for no more than sixteen.
  "lm": Experiment(student=_STUDENT, run=Run(checkpoint_steps=16)),
  "lm_demo": Experiment(
    language=Language(
      text="runs/texts/demo.jsonl",
      sequence_length=256,
      steps=24,
      evaluations=4,
      validation_sequences=4,
    ),
    teacher=Teacher(teacher_from="package:smollm2"),
    student=_student(model="layers(6)", batch_size=1, learning_rate=1e-3),
    distillation=_WORDS,
    # A checkpoint of six students takes 4 GB of memory while it is written.
    run=Run(checkpoint_minutes=30),
  ),
  "lm_prune_and_heal_rates": _rates(_HEALED),
  "lm_prune_and_heal": _HEALED,
  "lm_prune_and_heal_10_rates": _rates(_HEALED_10),
  "lm_prune_and_heal_10": _HEALED_10,
  "lm_words_teacher": _small_gpt(
    learning_rate=2e-3, text="runs/texts/words.jsonl", steps=1000
  ),
  **{f"lm_on_policy_{name}": one for name, one in _ON_POLICY.items()},
  "lm_two_teachers": _two_teachers(_NOVELS, _DEFINITIONS),
  "lm_two_teachers_novels": _two_teachers(_NOVELS),
  "lm_two_teachers_words": _two_teachers(_DEFINITIONS),
  "lm_lora": _lora("rank(8)"),
  "lm_lora_full": _lora(None),
  "lm_small_teacher": _small_gpt(
    learning_rate=3e-3,
    text="runs/texts/novels_1024.jsonl",
    steps=800,
    evaluations=4,
  ),
  "lm_other_tokenizer": _FROM_GEMMA,
  "lm_other_tokenizer_uld": dataclasses.replace(
    _FROM_GEMMA,
    language=dataclasses.replace(_FROM_GEMMA.language, across="uld"),
    distillation=Distillation(distillation="uld:1.5 + ce:1"),
  ),
  "lm_own_tokenizer": dataclasses.replace(
    _FROM_GEMMA,
    language=dataclasses.replace(
      _FROM_GEMMA.language, student_from=None, across=None
    ),
    teacher=Teacher(teacher_from="package:smollm2"),
  ),
  **{f"lm_data_size_{parts}": _data_size(parts) for parts in (4, 16, 64, 256)},
  "lm_sequence_level": Experiment(
    language=Language(
      text="runs/texts/definitions.jsonl",
      sequence_length=128,
      steps=48,
      evaluations=2,
      validation_sequences=16,
      policy="teacher",
      alternatives="forward_kl:0.9 + ce:0.1",
    ),
    continuation=Continuation(max_new_tokens=32),
    teacher=Teacher(teacher_from="package:smollm2"),
    student=_student(model="layers(6)", batch_size=2, learning_rate=1e-3),
    distillation=Distillation(distillation="hard"),
  ),
}
