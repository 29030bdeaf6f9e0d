"""Published language models at full size: Qwen, Llama 3.2, Gemma 3.

  python launch.py lm --experiment=lm/qwen3_4b_600m --text='fineweb/*.parquet' \\
    --teacher_from=Qwen3-4B --student_from=Qwen3-0.6B
  python launch.py lm --experiment=lm/llama_3b_1b --text=squad.jsonl \\
    --teacher_from=Llama-3.2-3B --student_from=Llama-3.2-1B
  python launch.py lm --experiment=lm/gemma3_4b_270m --text=translations.jsonl \\
    --teacher_from=gemma-3-4b-text --student_from=gemma-3-270m
  python launch.py lm --experiment=lm/qwen3_4b_1_7b_on_policy --text=mathematics.jsonl \\
    --teacher_from=Qwen3-4B --student_from=Qwen3-1.7B-Base
  python launch.py lm --experiment=lm/qwen2_5_7b_1_5b_minillm --text=dolly.jsonl \\
    --teacher_from=Qwen2.5-7B-sft --student_from=Qwen2.5-1.5B-sft --multihost

For a machine with several GPUs or TPUs, the last one for a TPU pod, and not run by us yet. docs/recipes.md says whose
settings they are, what differs, how many tokens there are and what memory it takes.
"""

from kdjax.runner.config import (
  Computing,
  Continuation,
  Distillation,
  Experiment,
  Language,
  Student,
)


def _recipe(
  language: Language,
  student: Student,
  distillation: str,
  mesh: str = "data=-1",
  shard_rules: str = "fsdp",
  max_new_tokens: int = Continuation().max_new_tokens,
) -> Experiment:
  return Experiment(
    language=language,
    continuation=Continuation(max_new_tokens=max_new_tokens),
    student=student,
    distillation=Distillation(distillation=distillation),
    computing=Computing(
      compute_dtype="bfloat16",
      teacher_dtype="bfloat16",
      remat=True,
      mesh=mesh,
      shard_rules=shard_rules,
    ),
  )


EXPERIMENTS = {
  "lm/qwen3_4b_600m": _recipe(
    # 80 million tokens.
    Language(sequence_length=512, steps=9765, evaluations=5, held_out=0.01),
    Student(
      epochs=1,
      batch_size=16,
      seeds=1,
      learning_rate=1e-5,
      optimizer="adamw(clip=1.0)",
      schedule="cosine(warmup=0.05)",
    ),
    "forward_kl",
  ),
  "lm/llama_3b_1b": _recipe(
    Language(sequence_length=512),
    Student(
      epochs=2,
      batch_size=32,
      seeds=1,
      learning_rate=1e-5,
      optimizer="adam",
      schedule="constant",
    ),
    "forward_kl:0.5 + ce:0.5",
  ),
  "lm/gemma3_4b_270m": _recipe(
    Language(sequence_length=128, steps=200),
    Student(
      epochs=1,
      batch_size=4,
      seeds=1,
      learning_rate=1e-4,
      optimizer="adamw",
      schedule="constant",
    ),
    "kd(temperature=2):0.7 + ce:0.3",
    # Four sequences are too few for eight devices: the networks are cut instead.
    mesh="data=1,model=-1",
    shard_rules="transformer",
  ),
  # One machine of eight GPUs.
  "lm/qwen3_4b_1_7b_on_policy": _recipe(
    Language(
      sequence_length=8192,
      steps=2000,
      evaluations=20,
      held_out=0.01,
      policy="student",
    ),
    Student(
      epochs=1,
      batch_size=64,
      seeds=1,
      learning_rate=2e-5,
      optimizer="adamw(b2=0.999, weight_decay=0.01, clip=1.0)",
      schedule="constant(warmup=0.01)",
    ),
    "symmetric_kl:1",
    max_new_tokens=7168,
  ),
  # A TPU pod of 16 to 64 devices.
  "lm/qwen2_5_7b_1_5b_minillm": _recipe(
    Language(
      sequence_length=512,
      steps=5000,
      evaluations=50,
      policy="student(teacher=0.2)",
    ),
    Student(
      epochs=1,
      batch_size=64,
      seeds=1,
      learning_rate=5e-6,
      optimizer="adamw(clip=1.0)",
      schedule="constant(warmup=0.02)",
    ),
    "minillm:1",
    max_new_tokens=256,
  ),
}
