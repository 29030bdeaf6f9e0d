"""Whoever writes the texts: several devices, and pieces of batches, train as one."""

import jax
import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import (
  documents,
  tiny_folder,
  train_arms,
  write_rows,
)

from kdjax.runner.config import experiments, options
from kdjax.runner.jobs.lm.build import build

pytestmark = pytest.mark.usefixtures("untried")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("devices")
  # Larger weights make steps of gradients grow each other's rounding.
  sizes = {"num_hidden_layers": 2}
  tiny_folder(folder / "teacher", characters(), **sizes)
  rows = [{"prompt": x[:6], "completion": x[6:20]} for x in documents(60)]
  write_rows(folder / "rows.jsonl", rows)
  return folder


def trained(folder, devices=1, **flags):
  texts = {
    "text": f"{folder}/rows.jsonl", "teacher_from": f"{folder}/teacher",
    "student": "layers(1)", "sequence_length": "24", "batch_size": "16",
    "accelerator": "cpu", "seeds": "1", "steps": "5", "optimizer": "sgd",
    "learning_rate": "0.3", "schedule": "constant", "max_new_tokens": "6",
    "evaluations": "5",
  }  # fmt: skip
  settings = options.with_flags(
    experiments.load_experiment("lm"), texts | flags
  )
  return train_arms(build(settings).setup, devices)["student"]


@pytest.mark.slow
@pytest.mark.parametrize(
  "flags",
  [
    {"distillation": "minillm"},
    {"distillation": "policy_gradient"},
    # Its share rises at once, and what it keeps is full after two batches.
    {
      "distillation": "distillm", "learning_rate": "0.5",
      "policy": "adaptive(capacity=8, tolerance=0.001, rise=1.0)",
    },
    {"policy": "speculative(3)", "updates_per_rollout": "2"},
  ],
  ids=lambda flags: "-".join(flags.values()),
)  # fmt: skip
def test_devices_and_pieces_do_not_matter(folder, flags):
  whole = trained(folder, **flags)
  if "learning_rate" in flags:
    assert float(whole.share[0]) == 1 and int(whole.written[0]) >= 16
  other = trained(folder, devices=2, accumulate_steps="2", **flags)
  for x, y in zip(*map(jax.tree.leaves, (whole, other)), strict=True):
    if np.issubdtype(np.asarray(x).dtype, np.floating):
      np.testing.assert_allclose(y, x, rtol=0, atol=1e-6 * np.abs(x).max())
    else:
      np.testing.assert_array_equal(y, x)
