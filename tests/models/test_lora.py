"""Low-rank adapters: what they compute, what is trained, and how they are stored."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

import kdjax
from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.models.generation.generate import generate
from kdjax.models.lora import Lora, adapters_of, merge, read_lora, with_lora
from kdjax.models.pretrained.adapters import save_adapters
from kdjax.models.pretrained.architectures import architecture_of, config_of
from kdjax.models.pretrained.tensors import write_tensors
from kdjax.tasks import language_model

TOKENS = {"tokens": jnp.arange(12).reshape(2, 6)}


def make(family="llama", options="rank(2, alpha=6)"):
  """(network, variables, the same with adapters that have moved, Lora)."""
  model = make_model(
    f"decoder(family='{family}', width=8, depth=2, heads=2, positions=16)",
    classes=13,
  )
  network = kdjax.from_linen(model)
  variables = jax.jit(network.init)(jax.random.key(0), TOKENS)
  lora = read_lora(options)
  adapted, start = with_lora(
    network, variables, lora, TOKENS, key=jax.random.key(1)
  )
  return network, variables, adapted, start, lora


def moved(variables):
  leaves, form = jax.tree.flatten(variables["params"])
  rng = np.random.default_rng(0)
  leaves = [
    x + jnp.asarray(rng.normal(0, 0.1, x.shape), x.dtype) for x in leaves
  ]
  return {**variables, "params": form.unflatten(leaves)}


def logits(network, variables):
  return jax.jit(lambda v: network.apply(v, TOKENS)[0])(variables)


@pytest.mark.parametrize(
  "family", ["llama", pytest.param("gpt2", marks=pytest.mark.slow)]
)
def test_begins_as_it_was_and_equals_its_merged_network(family):
  network, variables, adapted, start, lora = make(family)
  before = logits(network, variables)
  np.testing.assert_array_equal(logits(adapted, start), before)
  trained = moved(start)
  after = logits(adapted, trained)
  assert abs(after - before).max() > 0.01
  merged = merge(trained, lora)
  np.testing.assert_allclose(logits(network, merged), after, atol=1e-6)
  # W + alpha / rank A B, by hand.
  a, b = adapters_of(trained)["stage_1", "attention", "out"]
  kernel = variables["params"]["stage_1"]["attention"]["out"]["kernel"]
  np.testing.assert_allclose(
    merged["params"]["stage_1"]["attention"]["out"]["kernel"],
    kernel + 3 * np.reshape(np.asarray(a) @ np.asarray(b), kernel.shape),
    atol=1e-6,
  )


def test_reads_on_with_a_cache_as_its_merged_network():
  network, _, adapted, start, lora = make()
  trained = moved(start)
  options = {"max_new_tokens": 5, "eos": ()}
  ours = generate(adapted, trained, [[1, 2], [3, 4, 5]], **options)
  merged = generate(
    network, merge(trained, lora), [[1, 2], [3, 4, 5]], **options
  )
  for one, other in zip(ours, merged, strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
  "weights",
  [*(pytest.param(x, marks=pytest.mark.slow) for x in ("int8", "int4")), "nf4"],
)
def test_kernels_in_few_bits_are_near_and_merge(weights):
  network, variables, adapted, start, lora = make(
    options=f"rank(2, weights='{weights}')"
  )
  before, after = logits(network, variables), logits(adapted, start)
  assert 0 < abs(after - before).max() < 0.2
  stage = start["frozen"]["params"]["stage_0"]
  kernel = stage["mlp"]["dense_0"]["kernel"]
  assert kernel.array.qvalue.dtype.itemsize == 1
  assert stage["norm_0"]["scale"].dtype == jnp.float32
  trained = moved(start)
  np.testing.assert_allclose(
    logits(network, merge(trained, lora)), logits(adapted, trained), atol=1e-6
  )


def test_adapters_alone_are_trained():
  _, _, adapted, start, _ = make()
  task = language_model(13)
  method = kdjax.make_method("ce", task=task)
  step = kdjax.make_step(
    kdjax.objective(method, adapted, task),
    optax.adamw(1e-2, weight_decay=0.5),
  )
  before = jax.device_get(start)
  state = step.init(jax.random.key(0), start, None, TOKENS)
  shapes = {x.shape for x in jax.tree.leaves(state.opt_state)}
  assert (8, 2) in shapes and (13, 8) not in shapes
  for _ in range(2):
    state, _ = step.step(state, None, TOKENS)
  after, start = step.variables(state), before
  jax.tree.map(np.testing.assert_array_equal, after["frozen"], start["frozen"])
  assert all(
    np.any(x != y)
    for x, y in zip(
      jax.tree.leaves(after["params"]),
      jax.tree.leaves(start["params"]),
      strict=True,
    )
  )


# A published layer, and whether it stands for query, key and value.
LAYERS = {
  "llama": ("self_attn.q_proj", False),
  "gpt2": ("attn.c_attn", True),
  "phi3": ("self_attn.qkv_proj", True),
}


@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize("layers", ("['query', 'mlp']", "['attention']"))
def test_files_of_peft_say_the_same(family, layers, tmp_path):
  network, variables, _, start, lora = make(
    family, f"rank(2, alpha=6, layers={layers})"
  )
  trained = moved(start)
  save_adapters(tmp_path, network, trained, lora, base="base")
  config = json.loads((tmp_path / "adapter_config.json").read_text())
  tensors = load_file(tmp_path / "adapter_model.safetensors")
  table = architecture_of(config_of(network.module)).table(network.module)
  before = write_tensors(table, variables["params"])
  after = write_tensors(table, merge(trained, lora)["params"])
  seen = set()
  for name, kernel in before.items():
    module = name.removesuffix(".weight")
    a = tensors.get(f"base_model.model.{module}.lora_A.weight")
    if a is None:
      np.testing.assert_array_equal(after[name], kernel)
      continue
    b = tensors[f"base_model.model.{module}.lora_B.weight"]
    target = module.split(".", module.count(".") - 1)[-1]
    assert target in config["target_modules"]
    rank = config["rank_pattern"].get(target, config["r"])
    scale = config["alpha_pattern"].get(target, config["lora_alpha"]) / rank
    assert a.shape[0] == b.shape[1] == rank
    delta = scale * b @ a
    delta = delta.T if config["fan_in_fan_out"] else delta
    np.testing.assert_allclose(after[name], kernel + delta, atol=1e-6)
    seen.add(target)
  assert seen == {*config["target_modules"]}
  name, fused = LAYERS[family]
  together = len({"query", "key", "value"} & {*lora.layers}) if fused else 1
  assert config["rank_pattern"].get(name, 2) == 2 * together


REFUSED = {
  "ranks(2)": "rank",
  "rank(0)": "rank must be a whole number >= 1, got 0",
  "rank(2, alpha=0)": "alpha must be positive, got 0",
  "rank(2, layers='querry')": "query",
  "rank(2, layers=[])": "names no layer",
  "rank(2, weights='int3')": "int4",
  "rank(2, dropout=0.1)": "dropout",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text):
  with pytest.raises(UserError, match=REFUSED[text]):
    read_lora(text)


def test_refuses_networks_that_have_no_such_layers():
  network, variables, _, _, _ = make("gpt2")
  with pytest.raises(UserError, match="no layer gate"):
    with_lora(
      network,
      variables,
      Lora(2, layers=("gate",)),
      TOKENS,
      key=jax.random.key(0),
    )
  with pytest.raises(UserError, match="linen module"):
    with_lora(
      network._replace(module=None),
      variables,
      Lora(2),
      TOKENS,
      key=jax.random.key(0),
    )
  with pytest.raises(UserError, match="batch_stats"):
    with_lora(
      network,
      {**variables, "batch_stats": {}},
      Lora(2),
      TOKENS,
      key=jax.random.key(0),
    )
