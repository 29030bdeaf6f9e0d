"""Texts continued: transformers' ids, whatever the cache, the batch, the devices.

The folders are those of tests/models/pretrained/make_language_models.py.
"""

import functools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.models.generation import continuation, generate, recompute
from kdjax.models.gpt import gpt

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"
DECODERS = (
  "gemma2", "gemma3_text", "gpt2", "gpt2_scaled", "llama", "llama_bias",
  "llama_old", "llama_yarn", "mistral", "olmo2", "phi3", "qwen2", "qwen3",
  "smollm3",
)  # fmt: skip
KEY = jax.random.key(3)
# Five tokens, of which each says with what probability another follows.
FOLLOWS = np.random.default_rng(1).dirichlet([1.0] * 5, 5)
CHAIN_VARIABLES = {"params": {"logits": jnp.log(FOLLOWS)}}


UNEVEN = [[5], [7, 8, 9, 10, 11, 12, 13, 14, 15], [20, 21, 22], [2, 2]]


def chain_logits(variables, inputs, *, train, rngs):
  return variables["params"]["logits"][inputs]


CHAIN = kdjax.from_apply(chain_logits)


def follow(prompts, count=4, **settings):
  settings = {"max_new_tokens": count, "key": KEY} | settings
  return kdjax.generate(CHAIN, CHAIN_VARIABLES, prompts, **settings)


def lists(texts):
  return [text.tolist() for text in texts]


@functools.cache
def loaded(name):
  with np.load(FOLDER / name / "answers.npz") as file:
    return kdjax.pretrained.load(FOLDER / name), dict(file)


def quick_for(name, *slow):
  return [name, *(pytest.param(x, marks=pytest.mark.slow) for x in slow)]


# Learned positions, windows, layers without positions, a rotation that depends on
# the length; the others take the same ways. What stands beside a row changes none
# of them: tests/models/pretrained/test_language_models.py.
KINDS = ("gpt2", "gemma3_text", "smollm3", "phi3")


@pytest.mark.parametrize(
  "name", quick_for("gemma2", *(x for x in DECODERS if x != "gemma2"))
)
def test_greedy_ids_are_those_of_transformers_with_a_cache_and_without(name):
  (network, variables, *_), case = loaded(name)
  prompts = case["prompt_0"], case["prompt_1"]
  due = lists([case["greedy_0"], case["greedy_1"]])
  for one in (network, network._replace(decoding=None)):
    texts = kdjax.generate(one, variables, prompts, max_new_tokens=12)
    assert lists(texts) == due
    assert {text.dtype for text in texts} == {np.dtype(np.int32)}


@pytest.mark.parametrize("name", quick_for("mistral", *KINDS))
def test_a_prompt_alone_is_a_prompt_in_a_batch(name):
  (network, variables, *_), _ = loaded(name)
  prompts = UNEVEN
  settings = {"max_new_tokens": 6, "sampling": "top_p(0.9)", "key": KEY}
  together = kdjax.generate(network, variables, prompts, **settings)
  (alone,) = kdjax.generate(
    network, variables, [prompts[2]], ids=[2], **settings
  )
  assert alone.tolist() == together[2].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_parts_of_the_prompts_are_as_in_the_whole(name):
  (network, variables, *_), _ = loaded(name)
  settings = {"max_new_tokens": 6, "sampling": "top_p(0.9)", "key": KEY}
  together, parts = (
    kdjax.generate(network, variables, UNEVEN, batch_size=size, **settings)
    for size in (4, 3)
  )
  assert lists(parts) == lists(together)


@pytest.mark.parametrize(
  "devices", [pytest.param(2, marks=pytest.mark.slow), 8]
)
def test_devices_draw_the_same(devices):
  prompts = [[0], [1, 2], [3], [4, 4, 4], [2]]
  settings = {"sampling": "temperature(1.3)", "samples": 2, "eos": 4}
  there = follow(prompts, devices=jax.local_devices()[:devices], **settings)
  assert lists(there) == lists(follow(prompts, **settings))


@pytest.mark.slow
def test_a_decoder_on_devices_draws_the_same():
  (network, variables, *_), _ = loaded("qwen3")
  prompts = [[i + 1] * (i % 4 + 1) for i in range(9)]
  settings = {"max_new_tokens": 8, "sampling": "min_p(0.1)", "key": KEY}
  there = kdjax.generate(
    network, variables, prompts, devices=jax.local_devices()[:2], **settings,
  )  # fmt: skip
  here = kdjax.generate(network, variables, prompts, **settings)
  assert lists(there) == lists(here)


def chi_square(counts, probabilities):
  due = counts.sum() * probabilities
  return ((counts - due) ** 2 / due).sum()


def test_tokens_are_drawn_as_often_as_they_are_probable():
  texts = np.stack(
    follow([[2]], count=2, samples=4000, sampling="temperature(2)")
  )
  softened = FOLLOWS**0.5 / (FOLLOWS**0.5).sum(1, keepdims=True)
  first = np.bincount(texts[:, 0], minlength=5)
  # The values that chance passes once in 10,000 times, of 4 and of 24 freedoms.
  assert chi_square(first, softened[2]) < 23.5 < chi_square(first, FOLLOWS[2])
  both = np.zeros((5, 5))
  np.add.at(both, (texts[:, 0], texts[:, 1]), 1)
  assert chi_square(both, softened[2][:, None] * softened) < 57.0


def test_texts_depend_on_the_key_the_prompt_s_number_and_the_sample():
  settings = {"sampling": "temperature(1)", "count": 12}
  first, second = follow([[2], [2]], **settings)
  assert first.tolist() != second.tolist()
  assert lists(follow([[2]], ids=[1], **settings)) == [second.tolist()]
  assert lists(follow([[2]], samples=3, **settings))[0] == first.tolist()
  other = jax.random.key(4)
  assert lists(follow([[2]], **settings | {"key": other}))[0] != first.tolist()


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_other_kinds_draw_the_same_in_any_batch(impl):
  key, sampling = jax.random.key(0, impl=impl), "temperature(1)"
  together = follow([[0], [1], [2]], count=9, key=key, sampling=sampling)
  alone = follow([[1]], count=9, key=key, sampling=sampling, ids=[1])
  assert lists(alone) == [together[1].tolist()]


def test_a_text_ends_with_the_first_of_its_ends():
  sampling = "temperature(1)"
  prompts = [[0], [1], [2], [3]]
  whole = lists(follow(prompts, count=16, sampling=sampling))
  cut = lists(follow(prompts, count=16, sampling=sampling, eos=(4, 1)))
  for long, short in zip(whole, cut, strict=True):
    ends = [i for i, token in enumerate(long) if token in (1, 4)]
    assert short == long[: ends[0] + 1]
  assert {len(text) for text in cut} != {16}


def test_the_loop_ends_when_all_texts_have(monkeypatch):
  """Two steps are enough, of the thousand that are allowed."""
  variables = {"params": {"logits": jnp.eye(5)[jnp.array([4, 0, 0, 0, 4])]}}
  decoding = recompute.recomputed(CHAIN, variables, 1)
  read, reads = decoding.read, []

  def counted(*arguments):
    jax.debug.callback(lambda: reads.append(1))
    return read(*arguments)

  request = continuation.Request(
    1000, kdjax.models.generation.sampling.read_sampling("greedy"), (4,), 5
  )
  texts = jax.jit(continuation.continue_prompts, static_argnums=(0, 5))(
    decoding._replace(read=counted), variables, jnp.array([[1], [2]]),
    jnp.ones((2, 1), bool), jax.random.split(KEY, 2), request,
  )  # fmt: skip
  jax.effects_barrier()
  assert texts.counts.sum(1).tolist() == [2, 2] and len(reads) == 2


# The rotation of phi3's keys depends on a text's length: they are made anew.
@pytest.mark.parametrize("name", quick_for("llama", *KINDS[:3]))
def test_the_cache_is_written_in_place(name):
  """The compiled loop makes no copy of keys or values: it updates a slice."""
  (network, variables, *_), _ = loaded(name)
  config, (batch, prompt, count) = network.module.config, (3, 8, 40)
  whole = batch, config.groups, prompt + count - 1, config.head_width
  arrays = (
    np.zeros((batch, prompt), np.int32),
    np.ones((batch, prompt), bool),
    *np.zeros((2, batch), np.uint32),
  )
  decoding = generate.decoding_for(network, variables, prompt, count)
  request = generate.read_request(decoding, count, "greedy", (), None)
  lowered = generate._program.lower(
    variables, KEY, arrays, network=network, request=request
  )
  shape = re.escape(f"f32[{','.join(map(str, whole))}]")
  makers = re.findall(rf"= {shape}\S* ([\w-]+)\(", lowered.compile().as_text())
  assert makers.count("dynamic-update-slice") >= 2 * len(config.layers)
  assert "copy" not in makers


def test_classes_that_pad_a_network_are_never_chosen():
  texts = follow([[0]] * 3, count=9, samples=9, sampling="temperature(9)")
  assert np.concatenate(texts).max() == 4
  texts = follow(
    [[0]] * 3, count=9, samples=9, sampling="temperature(9)", vocabulary=3
  )
  assert np.concatenate(texts).max() == 2


def test_programs_serve_prompts_of_like_lengths():
  (network, variables, *_), _ = loaded("gpt2")
  program = generate._program
  before = program._cache_size()
  for length in (2, 5, 8):
    kdjax.generate(network, variables, [[1] * length], max_new_tokens=3)
  assert program._cache_size() == before + 1


def test_a_network_that_was_not_published_continues_texts():
  network = kdjax.from_linen(
    gpt(classes=9, width=8, depth=1, heads=2, mlp=8, positions=6, dropout=0.0)
  )
  prompts = [[1, 2, 3], [4]]
  variables = jax.jit(network.init)(KEY, jnp.zeros((1, 3), jnp.int32))
  texts = kdjax.generate(network, variables, prompts, max_new_tokens=3)
  apply = jax.jit(network.apply)
  for prompt, text in zip(prompts, texts, strict=True):
    line = prompt + text.tolist()
    logits, *_ = apply(variables, jnp.array([line]))
    behind = np.asarray(logits)[0, len(prompt) - 1 : -1].argmax(-1)
    assert behind.tolist() == text.tolist()
  with pytest.raises(UserError, match="cannot read 7 tokens: gpt takes"):
    kdjax.generate(network, variables, [[1] * 4], max_new_tokens=4)


@pytest.mark.parametrize(
  ("name", "prompts", "count", "said"),
  [
    ("llama", [[1] * 100], 1, "of 100 tokens and max_new_tokens=1 are more than"),
    ("llama", [[1, 61]], 1, "prompt 0 has the token 61; the network's are 0 to 60"),
    ("llama", [[1], [-1]], 1, "prompt 1 has the token -1"),
    ("bert", [[1, 2]], 1, r"answers \(1, \d\) to tokens \(1, 2\); to continue"),
  ],
)  # fmt: skip
def test_what_a_network_does_not_read_is_refused(name, prompts, count, said):
  (network, variables, *_), _ = loaded(name)
  with pytest.raises(UserError, match=said) as error:
    kdjax.generate(network, variables, prompts, max_new_tokens=count)
  assert "\n" not in str(error.value)
