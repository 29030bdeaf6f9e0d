"""all-MiniLM-L6-v2 distilled into two narrow layers: its vectors alone, or more of it?

minilm_student: What TinyBERT's and MiniLMv2's losses add to matching a sentence's vector.

  make experiments RUNS=compare:minilm_student    (12 minutes on two quiet CPU cores)

3,000 sentences of installed packages' documentation, 1,000 of two other packages to
measure on, at most 24 tokens each. The student has 2 blocks of width 192 and begins with
the teacher's word vectors on their 192 main directions; 5.9 of its 6.9 million parameters
are those. Every arm tries four settings on a fifth of the sentences with one seed, 150
steps of 32; the best is trained again with five fresh seeds.

Without labels the teacher's vectors are the targets: the baseline's loss is that of
`cosine`, and it is the arm that matches the vector alone. To it the others add a term.
Cosine to the teacher's vector / Spearman of all pairs' cosines / recall@1 of searches in
the teacher's index: the vector alone 0.649 ± 0.016 / 0.620 ± 0.013 / 0.932 ± 0.028; with
MiniLMv2's loss 0.651 ± 0.016 / 0.618 ± 0.014 / 0.934 ± 0.025 (p = 0.29 after Holm's
correction); with TinyBERT's 0.638 ± 0.022 / 0.610 ± 0.019 / 0.910 ± 0.047 (p = 0.35):
neither is shown to help or to harm. Both took the smaller weight, 0.01; at 0.1 TinyBERT's
loss was far worse on the held-out fifth (0.58 where 0.01 gave 0.69).
"""

import pathlib
import sys

import numpy as np

import kdjax
from kdjax.runner.config import (
  Data,
  Experiment,
  Language,
  Search,
  Student,
  Teacher,
)

WIDTH = 192
# The teacher's number of heads, which TinyBERT's loss matches one by one.
STUDENT = f"bert(width={WIDTH}, depth=2, heads=12, pool='mean', dropout=0.0)"
FOLDER = "runs/minilm_beginning"

EXPERIMENTS = {
  "minilm_student": Experiment(
    data=Data(
      dataset="runs/texts/documentation.csv",
      task="embedding(384)",
      validation=0.2,
    ),
    language=Language(sequence_length=24, student_from=FOLDER),
    teacher=Teacher(teacher_from="package:minilm-l6"),
    student=Student(
      model=STUDENT,
      epochs=2,
      batch_size=32,
      seeds=5,
      optimizer="adamw(weight_decay=0.01)",
      schedule="linear(warmup=0.1)",
    ),
    # `ce` is the distance to the teacher's vector here; only the other terms'
    # weights are searched.
    search=Search(
      methods="ce:1+tinybert:1 ce:1+minilmv2:1",
      rates=(1e-3, 3e-3),
      weights=(0.01, 0.1),
      smoothing=(0.1, 0.2),
    ),
  ),
}


def write_beginning(folder: pathlib.Path) -> None:
  """Writes what students begin with: the teacher's word vectors, made narrower.

  They keep their main directions, as many as the student is wide; the head, whose
  output is the embedding, begins as the way back. The blocks are left to be drawn.
  """
  # Settings are read before jax is told its devices and where programs are kept.
  import jax

  from kdjax.core import storage

  variables = kdjax.pretrained.load("package:minilm-l6").variables
  teacher = jax.device_get(variables["params"]["stem"])
  words = teacher["tokens"]["embedding"]
  size = words.shape[1]
  directions = np.linalg.svd(words, full_matrices=False)[2][:WIDTH]
  stem = {
    name: {"embedding": teacher[name]["embedding"] @ directions.T}
    for name in ("tokens", "positions", "segments")
  }
  stem["norm_0"] = {"scale": np.ones(WIDTH), "bias": np.zeros(WIDTH)}
  head = {"kernel": 0.1 * directions, "bias": np.zeros(size)}
  # One student, as a run of one seed leaves it.
  params = jax.tree.map(
    lambda x: np.float32(x)[None], {"stem": stem, "head": head}
  )
  folder.parent.mkdir(parents=True, exist_ok=True)
  storage.save_network(folder, {"params": params}, {"model": STUDENT})


if __name__ == "__main__":
  write_beginning(pathlib.Path(sys.argv[1]))
