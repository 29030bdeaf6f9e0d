"""Published language models at full size: Qwen3, Llama 3.2, Gemma 3.

  python launch.py lm --experiment=lm/qwen3_4b_600m --text='fineweb/*.parquet' \\
    --teacher_from=Qwen3-4B --student_from=Qwen3-0.6B
  python launch.py lm --experiment=lm/llama_3b_1b --text=squad.jsonl \\
    --teacher_from=Llama-3.2-3B --student_from=Llama-3.2-1B
  python launch.py lm --experiment=lm/gemma3_4b_270m --text=translations.jsonl \\
    --teacher_from=gemma-3-4b-text --student_from=gemma-3-270m

For a machine with several GPUs or TPUs, and not run by us yet. docs/recipes.md says whose
settings they are, what differs, how many tokens there are and what memory it takes.
"""

from kdjax.runner.config import (
  Computing,
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
) -> Experiment:
  return Experiment(
    language=language,
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
}
