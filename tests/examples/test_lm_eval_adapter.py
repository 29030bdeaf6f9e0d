"""The adapter rates as the network's own logits do, and continues as `generate`."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import tiny_folder

import kdjax
from examples import lm_eval_adapter

pytestmark = pytest.mark.slow


def request(*arguments):
  return SimpleNamespace(args=arguments)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
  folder = tmp_path_factory.mktemp("network")
  return lm_eval_adapter.Adapter(
    tiny_folder(folder / "m", characters(), scale=4.0)
  )


def log_probs(adapter, text):
  """Of each token of a text behind the one before, (L - 1,)."""
  ids = adapter.tokenizer.encode(text)
  logits = adapter.network.apply(
    adapter.variables, {"tokens": np.array([ids])}
  )[0][0, :-1, : adapter.tokenizer.vocabulary_size]
  return np.asarray(jax.nn.log_softmax(logits))[
    np.arange(len(ids) - 1), ids[1:]
  ]


def test_a_continuation_behind_its_context(adapter):
  pairs = [("the cat", " sat"), ("the cat ", "sat"), ("", "sat")]
  found = adapter.loglikelihood([request(*pair) for pair in pairs])
  whole = log_probs(adapter, "the cat sat")
  # Characters are tokens: the last four are the continuation.
  assert found[0][0] == pytest.approx(whole[-4:].sum(), rel=1e-5)
  assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
  assert found[2][0] == pytest.approx(log_probs(adapter, "sat").sum(), rel=1e-5)


def test_what_greedy_says_is_greedy(adapter):
  (text,) = adapter.generate_until([request("the c", {"max_gen_toks": 3})])
  ids = adapter.tokenizer.encode("the c")
  (own,) = kdjax.generate(
    adapter.network, adapter.variables, [ids], max_new_tokens=3,
    eos=adapter.tokenizer.eos, vocabulary=adapter.tokenizer.vocabulary_size,
  )  # fmt: skip
  assert text == adapter.tokenizer.decode(own)
  if len(text) == 3:
    assert adapter.loglikelihood([request("the c", text)])[0][1]
    end = text[1]
    (cut,) = adapter.generate_until(
      [request("the c", {"max_gen_toks": 3, "until": [end]})]
    )
    assert cut == text.split(end)[0]


def test_a_whole_text_in_windows(adapter, monkeypatch):
  text = "the cat sat on the mat"
  (whole,) = adapter.loglikelihood_rolling([request(text)])
  assert whole == pytest.approx(log_probs(adapter, text).sum(), rel=1e-5)
  monkeypatch.setattr(lm_eval_adapter, "WINDOW", 8)
  (parts,) = adapter.loglikelihood_rolling([request(text)])
  ids = adapter.tokenizer.encode(text)
  assert np.isfinite(parts) and parts != whole and len(ids) > 16
