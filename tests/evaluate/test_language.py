"""Scores of texts: by hand, by NumPy, whatever stands where nothing counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.core.factored import Factored, by_row
from kdjax.core.task import Rows
from kdjax.data import text
from kdjax.data.text.rows import Row
from kdjax.evaluate.language import (
  bits_per_byte,
  measure_text,
  top_mass,
)
from kdjax.tasks import language_model
from tests.small_tokenizers import characters

V, D = 50, 6
RNG = np.random.default_rng(0)
TASKS = {
  "logits": language_model(V, factored_from=None),
  "chunks": language_model(V, factored_from=8),
}
TOKENIZER = characters()
ROWS = [
  Row({"text": "abc"}, "a"),
  Row({"prompt": "what? ", "completion": "four"}, "b"),
  Row({"text": "the cat sat on the mat."}, "c"),
  Row({"prompt": "1+2=", "completion": "3"}, "d"),
]
EXAMPLES = text.make_examples(ROWS, TOKENIZER, 16)
PACKED = text.pack(EXAMPLES.examples, 16, pad=TOKENIZER.pad)


def bigram(variables, inputs, *, train, rngs):
  """Logits of the token before, which no document before can change."""
  states = jnp.tanh(variables["table"][inputs["tokens"]])
  # What stands where there is padding is of no consequence.
  states = jnp.where(inputs["mask"][..., None], states, variables["garbage"])
  return states @ variables["kernel"] + variables["bias"][None, None]


def variables_of(seed, width=D, garbage=0.0):
  rng = np.random.default_rng(seed)
  return {
    "table": jnp.asarray(rng.normal(size=(V, width)), jnp.float32),
    "kernel": jnp.asarray(rng.normal(size=(width, V)), jnp.float32),
    "bias": jnp.asarray(rng.normal(size=V), jnp.float32),
    "garbage": jnp.float32(garbage),
  }


NETWORK = kdjax.from_apply(bigram)
STUDENT = variables_of(0)


def teacher(garbage=0.0):
  return kdjax.live_teacher(NETWORK, variables_of(1, 9, garbage))


def log_probabilities(variables, tokens):
  states = np.tanh(np.asarray(variables["table"], np.float64)[tokens])
  logits = states @ np.asarray(variables["kernel"], np.float64)
  logits += np.asarray(variables["bias"], np.float64)
  logits -= logits.max(-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def by_numpy():
  """The scores, from one document after the other."""
  nats, divergences, same, masses = [], [], [], []
  for row in ROWS:
    ids, counts = TOKENIZER.tokenize(row.values)
    if "prompt" in row.values:
      assert not counts[0]
    learned = np.array(counts)[1:]
    log_q = log_probabilities(STUDENT, ids[:-1])
    log_p = log_probabilities(variables_of(1, 9), ids[:-1])
    nats += [*-log_q[np.arange(len(ids) - 1), ids[1:]][learned]]
    divergences += [*(np.exp(log_p) * (log_p - log_q)).sum(-1)[learned]]
    same += [*(log_p.argmax(-1) == log_q.argmax(-1))[learned]]
    masses += [*np.exp(np.sort(log_q)[:, -3:]).sum(-1)[learned]]
  size = sum(
    len(row.values.get("text", row.values.get("completion"))) for row in ROWS
  )
  return {
    "nats_per_token": np.mean(nats),
    "bits_per_byte": np.sum(nats) / np.log(2) / size,
    "perplexity": np.exp(np.mean(nats)),
    "teacher_kl": np.mean(divergences),
    "agreement": np.mean(same),
    "top_3_mass": np.mean(masses),
    "tokens": len(nats),
    "bytes": size,
  }


def measured(how, garbage=0.0, sequences=PACKED, **options):
  return measure_text(
    NETWORK, variables_of(0, garbage=garbage), sequences, task=TASKS[how],
    text_bytes=EXAMPLES.bytes, teacher=teacher(garbage), top=(3,), **options,
  )  # fmt: skip


@pytest.mark.parametrize("how", TASKS)
def test_packed_texts_score_as_one_by_one(how):
  scores = measured(how)
  wanted = by_numpy()
  accuracy = scores.pop("accuracy")
  assert 0 <= accuracy <= 1
  assert scores == pytest.approx(wanted, rel=1e-5)
  assert (scores["tokens"], scores["bytes"]) == (35, 31)
  assert {type(scores[name]) for name in ("tokens", "bytes")} == {int}


@pytest.mark.parametrize("how", TASKS)
@pytest.mark.parametrize("garbage", [jnp.nan, jnp.inf, -jnp.inf])
def test_what_stands_in_padding_is_not_read(how, garbage):
  assert measured(how, garbage) == measured(how)


@pytest.mark.parametrize("how", TASKS)
def test_a_prompt_does_not_count(how):
  """Another token in it that no counted one is told from changes nothing."""
  at = np.argwhere(
    ~PACKED["counts"] & PACKED["mask"] & ~np.roll(PACKED["counts"], -1, 1)
  )
  tokens = PACKED["tokens"].copy()
  tokens[tuple(at.T)] += 1
  assert len(at) > 3
  assert measured(how, sequences={**PACKED, "tokens": tokens}) == measured(how)


def test_batches_make_no_difference():
  whole = measured("chunks")
  assert measured("chunks", batch_size=1) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("how", TASKS)
def test_devices_add_their_parts(how):
  """As a program spread over two devices has it, whose sums are added."""
  task = TASKS[how]
  batch = {name: x[:2] for name, x in PACKED.items()}
  assert len(batch["tokens"]) == 2

  def sums(item):
    inputs = {name: item[name] for name in ("tokens", "mask", "segments")}
    logits = NETWORK.apply(STUDENT, inputs)[0]
    rows = task.rows(logits, task.batch(item))
    return {
      "nats": task.metrics["nats_per_token"](rows),
      "3": top_mass(3)(rows),
    }

  alone = jax.jit(sums)(batch)
  halves = {name: x[:, None] for name, x in batch.items()}
  spread = jax.pmap(lambda item: jax.lax.psum(sums(item), "d"), "d")(halves)
  for name, (total, count) in alone.items():
    assert spread[name][1][0] == count
    assert float(spread[name][0][0]) == pytest.approx(float(total), rel=1e-6)


def test_bits_per_byte_by_hand():
  # 3 tokens of 2 bits each stand for 4 bytes.
  assert bits_per_byte(2 * np.log(2), 3, 4) == pytest.approx(1.5)


def test_rows_of_a_product_are_those_of_its_logits():
  states, kernel = (
    jnp.asarray(RNG.normal(size=shape), jnp.float32)
    for shape in ((7, 3), (3, V))
  )
  for bias in (None, jnp.arange(V) / 9):
    answers = Factored(states, kernel, bias)
    got = by_row(
      lambda x, y: (x.max(), (x - y).sum()), answers, answers.logits(), chunk=3
    )
    np.testing.assert_allclose(got[0], answers.logits().max(-1), rtol=1e-6)
    np.testing.assert_allclose(got[1], np.zeros(7), atol=1e-4)


def test_all_classes_have_all_mass():
  rows = Rows(
    jnp.asarray(RNG.normal(size=(4, V)), jnp.float32),
    jnp.zeros(4, int),
    jnp.array([1, 0, 1, 1]),
  )
  total, count = top_mass(V)(rows)
  assert (float(total), int(count)) == (pytest.approx(3, rel=1e-6), 3)
  masses = [float(top_mass(k)(rows)[0]) for k in (1, 2, 5, 20)]
  assert masses == sorted(masses)


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"text_bytes": 0}, "text_bytes= takes how many bytes"),
    ({"top": (V + 1,)}, "of 50 classes there are no 51 likeliest"),
    ({"top": (0,)}, "there are no 0 likeliest"),
    ({"network": TASKS}, "network= takes a Network"),
  ],
)
def test_what_cannot_be_measured_is_refused(options, says):
  options = {
    "network": NETWORK, "variables": STUDENT, "sequences": PACKED,
    "task": TASKS["logits"], "text_bytes": 9, **options,
  }  # fmt: skip
  with pytest.raises(UserError, match=says):
    measure_text(**options)
