"""Language models of a few thousand weights in folders, and documents for them."""

import json

import jax
import numpy as np

import launch
from kdjax import pretrained
from kdjax.models.pretrained.architectures import architecture_of
from kdjax.models.pretrained.load import network_of
from kdjax.runner.pipeline.epochs import epochs

WORDS = ["a", "cat", "sat", "on", "the", "mat", "and", "dog", "ran", "until"]


def tiny_folder(folder, tokenizer, *, seed=0, scale=1.0, **settings):
  """Writes a language model of four blocks, with its tokenizer.

  Args:
    scale: factor of all weights, so that its answers are further from even.
    settings: of its config.json, in place of a Llama's.
  """
  config = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 4, "num_attention_heads": 2,
    "max_position_embeddings": 64, "tie_word_embeddings": True,
    "dtype": "float32",
  }  # fmt: skip
  if tokenizer is not None:
    config["vocab_size"] = tokenizer.vocabulary_size
  config |= settings
  network = network_of(architecture_of(config).build(config))
  variables = drawn_variables(network, seed=seed, scale=scale)
  pretrained.save(folder, network, variables, tokenizer=tokenizer)
  return folder


def drawn_variables(network, *, seed=0, scale=1.0):
  """A network's variables, drawn by numpy: nothing is compiled for them."""
  draw = np.random.default_rng(seed)
  tokens = {"tokens": np.zeros((1, 2), np.int32)}
  shapes = jax.eval_shape(network.init, jax.random.key(seed), tokens)

  def drawn(path, one):
    name = path[-1].key
    if name in ("bias", "scale"):
      value = np.full(one.shape, name == "scale")
    else:
      width = one.shape[-1 if name == "embedding" else 0]
      value = draw.normal(size=one.shape) / np.sqrt(width)
    return (scale * value).astype(one.dtype)

  return jax.tree_util.tree_map_with_path(drawn, shapes)


def documents(count, seed=0):
  """Documents of words in random order."""
  draw = np.random.default_rng(seed)
  return [
    " ".join(draw.choice(WORDS, draw.integers(5, 30))) for _ in range(count)
  ]


def write_rows(path, rows):
  """Writes rows as JSON lines."""
  path.write_text("\n".join(map(json.dumps, rows)))
  return path


def train_arms(setup, devices=1, arms=("student",)):
  """The states that these arms of a run come to; no other arm is compiled."""
  setup = setup._replace(devices=jax.local_devices()[:devices])
  kept = {name: setup.student.arms[name] for name in arms}
  trainee = setup.student._replace(arms=kept)
  *_, epoch = epochs(setup, trainee, {"teacher": setup.training_teacher})
  return jax.device_get(epoch.states)


def run_lm(places, workdir, *flags, teachers=("teacher",), seeds=2):
  """Runs `launch.py lm` in little time; returns its status.

  Args:
    places: a folder with rows.jsonl and the teachers' folders.
  """
  folders = ",".join(str(places / name) for name in teachers)
  return launch.main([
    "launch.py", "lm", f"--text={places / 'rows.jsonl'}", "--sequence_length=16",
    "--batch_size=8", "--epochs=1", f"--seeds={seeds}", "--completions=0",
    "--learning_rate=0.03", f"--teacher_from={folders}", f"--workdir={workdir}",
    *flags,
  ])  # fmt: skip
