"""Generation: with a cache against without, and against transformers.

  python -m benchmarks.generation [--quick] [--clock=wall|processor] [--rounds=5]
    [--layers=6,30] [--only=cache,transformers,compile] [--output=FILE]

Greedy texts, random weights, float32, times in turns:
  cache         a step (one token) of `kdjax.generate` with a cache over one
                without, at 128 tokens: 8 tokens of prompt and 120 that follow.
  transformers  whole texts at SmolLM2's sizes, 6 and 30 x 576, 49152 classes:
                behind 16 tokens, 32 that follow, of 1 prompt and of 8; the same
                weights in transformers + PyTorch, where these are installed: as
                `generate` runs them, and with a static cache and a compiled
                forward pass. The texts are compared first.

On a machine that others use too, processor time is the less noisy one.
"""

import argparse
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

import kdjax
from benchmarks import timing
from kdjax.models.decoder import Decoder
from kdjax.models.pretrained import families

try:
  import torch
  import transformers
except ImportError:
  transformers = None

SMALL = {
  "hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 4,
  "num_key_value_heads": 4, "intermediate_size": 1024, "vocab_size": 4096,
}  # fmt: skip
SMOLLM2 = {
  "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
  "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152,
}  # fmt: skip
COMMON = {
  "max_position_embeddings": 2048, "rope_theta": 1e5, "tie_word_embeddings": True,
  "initializer_range": 0.1,
}  # fmt: skip

NEW = 32


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--clock", choices=timing.CLOCKS, default="wall")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--layers", default="6,30")
  parser.add_argument("--only", default="cache,transformers,compile")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  clock = timing.CLOCKS[options.clock]
  rounds = 3 if options.quick else options.rounds
  names = options.only.split(",")
  results = {"machine": timing.machine()}
  if "cache" in names:
    names.remove("cache")
    results["cache"] = cache(rounds, clock)
  else:
    results["cache"] = timing.written(options.output, "cache")
  timing.write({"summary": summary(results), **results}, options.output)
  if options.quick or transformers is None or not names:
    return
  results["machine"] |= {
    "torch": torch.__version__, "transformers": transformers.__version__,
  }  # fmt: skip
  results["transformers"] = []
  for layers in map(int, options.layers.split(",")):
    for row in against_transformers(layers, names, rounds, clock):
      results["transformers"].append(row)
      timing.write({"summary": summary(results), **results}, options.output)


def prompts_of(count: int, length: int, classes: int) -> list[np.ndarray]:
  """Draws prompts."""
  return [*np.random.default_rng(0).integers(3, classes, (count, length))]


def cache(rounds: int, clock: Callable[[], float]) -> list[dict]:
  """Compares a step with a cache with one without."""
  config = {"model_type": "llama"} | SMALL | COMMON
  network = kdjax.from_linen(Decoder(families.decoder_config(config)))
  tokens = np.zeros((1, 2), np.int32)
  variables = jax.jit(lambda key: network.init(key, tokens))(jax.random.key(0))
  prompts = prompts_of(1, 8, SMALL["vocab_size"])
  texts = {
    name: functools.partial(
      kdjax.generate, one, variables, prompts, max_new_tokens=120
    )
    for name, one in (
      ("cached", network),
      ("without", network._replace(decoding=None)),
    )
  }
  check_equal(*(run() for run in texts.values()))
  times = timing.interleaved(texts, rounds=rounds, clock=clock)
  medians = {name: timing.spread(times[name])["median"] for name in times}
  return [
    {
      "ms_a_step": {name: 1e3 * x / 120 for name, x in medians.items()},
      "without_over_cached": timing.ratio(times, "without", "cached"),
    }
  ]


def against_transformers(
  layers: int, names: list[str], rounds: int, clock: Callable[[], float]
) -> Iterator[dict]:
  """Compares whole texts with those of transformers, a row a size of the batch."""
  sizes = SMOLLM2 | COMMON | {"num_hidden_layers": layers}
  torch.manual_seed(0)
  model = transformers.LlamaForCausalLM(
    transformers.LlamaConfig(**sizes)
  ).eval()
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    network, variables, *_ = kdjax.pretrained.load(folder)
    again = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
  again.forward = torch.compile(again.forward)
  for batch in (1, 8):
    prompts = prompts_of(batch, 16, SMOLLM2["vocab_size"])
    ids = torch.from_numpy(np.stack(prompts))
    theirs = {
      "transformers": functools.partial(continued, model, ids),
      "compile": functools.partial(
        continued, again, ids, cache_implementation="static"
      ),
    }
    runs = {
      "ours": functools.partial(
        kdjax.generate, network, variables, prompts, max_new_tokens=NEW
      ),
      **{name: theirs[name] for name in names},
    }
    first, *others = (run() for run in runs.values())
    for other in others:
      check_equal(first, other)
    times = timing.interleaved(runs, rounds=rounds, clock=clock, settle=True)
    yield {
      "layers": layers,
      "batch": batch,
      "tokens_a_second": {
        name: NEW * batch / timing.spread(times[name])["median"]
        for name in times
      },
      "over_ours": {name: timing.ratio(times, name, "ours") for name in names},
    }


def continued(model, ids, **settings) -> np.ndarray:
  """The texts of transformers, (B, N)."""
  with torch.inference_mode():
    texts = model.generate(
      ids, attention_mask=torch.ones_like(ids), do_sample=False,
      max_new_tokens=NEW, eos_token_id=None, pad_token_id=0, **settings,
    )  # fmt: skip
  return texts[:, ids.shape[1] :].numpy()


def check_equal(ours, theirs) -> None:
  """Refuses texts that differ."""
  for one, other in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(one, other)


def summary(results: dict) -> list[dict]:
  """Says what was wanted and what was found."""
  lines = []
  for row in results["cache"]:
    ratio = row["without_over_cached"]["median"]
    what = "8 x 256, 128 tokens: a step without a cache over one with"
    lines.append(timing.line(what, ">= 8", ratio, ratio >= 8))
  for row in results.get("transformers", ()):
    for name, times in row["over_ours"].items():
      ratio = times["median"]
      what = f"{row['layers']} x 576, batch {row['batch']}: {name} over ours"
      lines.append(timing.line(what, ">= 1", ratio, ratio >= 1))
  return lines


if __name__ == "__main__":
  main()
