"""Language models on texts.

lm: What `launch.py lm` does where nothing else is said: half of a teacher's blocks, healed.

  python launch.py lm --text='novels/*.txt' --teacher_from=FOLDER
"""

from kdjax.runner.config import Distillation, Experiment, Student

EXPERIMENTS = {
  "lm": Experiment(
    student=Student(
      epochs=1,
      batch_size=8,
      seeds=3,
      learning_rate=3e-4,
      optimizer="adamw(b2=0.95, weight_decay=0.1, decay_norms=False, clip=1.0)",
      schedule="cosine(warmup=0.05)",
    ),
    distillation=Distillation(distillation="forward_kl:0.9 + ce:0.1"),
  ),
}
