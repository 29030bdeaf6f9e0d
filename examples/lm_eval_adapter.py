"""A language model of kdjax for the package lm-eval (EleutherAI's harness).

    pip install lm-eval
    python -m examples.lm_eval_adapter FOLDER lambada_openai piqa

`Adapter` has what the harness asks of a model, and needs nothing of it itself.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import generate, pretrained
from kdjax.models.generation.generate import rounded

# Of a text that is rated as a whole, so many tokens are read at a time.
WINDOW = 1024


class Adapter:
  """Rates and continues texts; requests have the arguments of lm-eval's."""

  def __init__(self, where: str):
    network, variables, _, self.tokenizer = pretrained.load(where)
    self.network, self.variables = network, variables
    self._logits = jax.jit(lambda v, x: network.apply(v, {"tokens": x})[0])

  def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
    """(context, continuation) -> its log-probability, and if greedy says it."""
    return [self._rated(*request.args) for request in requests]

  def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
    """(text,) -> its log-probability, window by window."""
    sums = []
    for request in requests:
      ids = self._with_beginning(self.tokenizer.encode(*request.args))
      starts = range(0, max(len(ids) - 1, 1), WINDOW - 1)
      # Each window begins with the last token of the one before.
      windows = [ids[start : start + WINDOW] for start in starts]
      sums.append(sum(self._log_prob(window, 1)[0] for window in windows))
    return sums

  def generate_until(self, requests: list[Any]) -> list[str]:
    """(context, {"until": [...], "max_gen_toks": N}) -> text, greedily."""
    texts = []
    for context, settings in (request.args for request in requests):
      (ids,) = generate(
        self.network,
        self.variables,
        [self._with_beginning(self.tokenizer.encode(context))],
        max_new_tokens=settings.get("max_gen_toks", 256),
        eos=self.tokenizer.eos,
        vocabulary=self.tokenizer.vocabulary_size,
      )
      text, until = self.tokenizer.decode(ids), settings.get("until") or []
      for end in [until] if isinstance(until, str) else until:
        text = text.split(end)[0]
      texts.append(text)
    return texts

  def _rated(self, context: str, continuation: str) -> tuple[float, bool]:
    # A space at the seam belongs to the word behind it.
    stripped = context.rstrip()
    whole = self.tokenizer.encode(context + continuation)
    head = self.tokenizer.encode(stripped) if stripped else []
    ids = self._with_beginning(whole)
    return self._log_prob(ids, max(len(head) + len(ids) - len(whole), 1))

  def _with_beginning(self, ids: list[int]) -> list[int]:
    """The ids behind one that begins a text, if there is none."""
    bos = self.tokenizer.bos
    if ids and ids[0] == bos:
      return ids
    return [self.tokenizer.eos[0] if bos is None else bos, *ids]

  def _log_prob(self, ids: list[int], first: int) -> tuple[float, bool]:
    """Of the ids from `first` on; and whether each is the likeliest."""
    # What follows a causal network's tokens is nothing to them.
    row = np.pad(ids, (0, rounded(len(ids)) - len(ids)))
    logits = self._logits(self.variables, jnp.asarray(row)[None])[0]
    logits = logits[first - 1 : len(ids) - 1, : self.tokenizer.vocabulary_size]
    labels = np.array(ids[first:])
    log_probs = np.asarray(jax.nn.log_softmax(logits))
    total = float(log_probs[np.arange(len(labels)), labels].sum())
    return total, bool((log_probs.argmax(-1) == labels).all())


def main() -> None:
  """Runs tasks of the harness on a language model."""
  import lm_eval
  from lm_eval.api.model import LM

  parser = argparse.ArgumentParser()
  parser.add_argument("folder")
  parser.add_argument("tasks", nargs="*", default=["lambada_openai"])
  options = parser.parse_args()
  model = type("Kdjax", (Adapter, LM), {"rank": 0, "world_size": 1})
  results = lm_eval.simple_evaluate(model(options.folder), tasks=options.tasks)
  print(lm_eval.utils.make_table(results))


if __name__ == "__main__":
  main()
