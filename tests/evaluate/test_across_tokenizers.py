"""Students beside a teacher that numbers the same tokens otherwise, by NumPy."""

import jax
import numpy as np
import pytest

import kdjax
from kdjax.core.alignment import SLOTS
from kdjax.evaluate.across_tokenizers import compare_across_tokenizers
from kdjax.tasks import language_model
from kdjax.train.aligned_teacher import aligned_teacher

V = 6
RNG = np.random.default_rng(0)
STUDENT, TEACHER = (
  2 * RNG.normal(size=(V, V)).astype(np.float32) for _ in range(2)
)
TEACHER_IDS = RNG.permutation(V)
# Three texts, of which the last fills up a batch of two; some tokens count.
TOKENS = RNG.integers(0, V, (3, 5)).astype(np.int32)
COUNTS = np.array([[0, 1, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 0, 0, 0]], bool)
WHOLE = np.ones_like(COUNTS)


def bigram(variables, inputs, *, train, rngs):
  tokens = inputs["tokens"] if isinstance(inputs, dict) else inputs
  return jax.nn.one_hot(tokens, V) @ variables["table"]


NETWORK = kdjax.from_apply(bigram)


def log_softmax(logits):
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_renumbered_tokens_by_hand():
  table = np.zeros_like(TEACHER)
  table[np.ix_(TEACHER_IDS, TEACHER_IDS)] = TEACHER
  teacher = aligned_teacher(NETWORK, {"table": table}, vocabulary=V)
  # The answer to a token is about the next one, alone in its group.
  slots = np.where(COUNTS[:, 1:], np.arange(4, dtype=np.int32), -1)
  tables = [STUDENT, STUDENT[::-1]]
  scores_of_each = compare_across_tokenizers(
    NETWORK, lambda: [{"table": x} for x in tables], teacher,
    {"tokens": TOKENS, "mask": WHOLE, "counts": COUNTS},
    {"tokens": TEACHER_IDS[TOKENS].astype(np.int32), "mask": WHOLE}
    | dict.fromkeys(SLOTS, slots),
    task=language_model(V),
    shared_ids=(np.arange(V), TEACHER_IDS), batch_size=2,
  )  # fmt: skip
  before = TOKENS[:, :-1][COUNTS[:, 1:]]
  log_p = log_softmax(TEACHER[before])
  for table, scores in zip(tables, scores_of_each, strict=True):
    log_q = log_softmax(table[before])
    kl = (np.exp(log_p) * (log_p - log_q)).sum(-1).mean()
    same = np.mean(log_q.argmax(-1) == log_p.argmax(-1))
    assert scores["teacher_kl"] == pytest.approx(kl, rel=1e-5)
    assert scores["agreement"] == pytest.approx(same)
