"""Nats a token are those of the logits that transformers computes."""

import pathlib

import numpy as np
import pytest

import kdjax
from kdjax.evaluate import measure_text, scores
from kdjax.tasks import language_model

FOLDER = pathlib.Path(__file__).parent.parent / "models/golden/language_models"
FAST = ("llama",)
SLOW = (
  "gemma2", "gemma3_text", "gpt2", "llama_bias", "mistral", "olmo2", "phi3",
  "qwen2", "qwen3", "smollm3",
)  # fmt: skip


@pytest.mark.parametrize(
  "name", [*FAST, *(pytest.param(x, marks=pytest.mark.slow) for x in SLOW)]
)
def test_scores_are_those_of_transformers(name):
  network, variables, _, _ = kdjax.pretrained.load(FOLDER / name)
  with np.load(FOLDER / name / "answers.npz") as file:
    tokens, mask, logits = (file[x] for x in ("tokens", "mask", "logits"))
  rng = np.random.default_rng(0)
  counts = mask & (rng.random(mask.shape) < 0.7)
  sequences = {"tokens": tokens, "mask": mask, "counts": counts}
  measured = measure_text(
    network, variables, sequences, batch_size=len(tokens), text_bytes=100,
    task=language_model(factored_from=8),
  )  # fmt: skip
  learned = (counts[:, 1:] & mask[:, :-1]).nonzero()
  log_q = scores.log_softmax(logits[:, :-1])[learned]
  wanted = -np.mean(log_q[np.arange(len(log_q)), tokens[:, 1:][learned]])
  assert measured["nats_per_token"] == pytest.approx(wanted, rel=1e-5)
  assert measured["tokens"] == len(log_q)
  assert measured["bits_per_byte"] == pytest.approx(
    wanted * len(log_q) / 100 / np.log(2), rel=1e-5
  )
