"""Decoders without weights: of the sizes asked for, and as transformers has them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import drawn_variables

import kdjax
from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.models.pretrained.families import DEFAULTS
from kdjax.models.pretrained.new import CLASSES

SIZES = "width=16, depth=2, heads=4, groups=2, mlp=24, positions=32"
TOKENS = np.arange(20).reshape(2, 10)


def new(family, folder):
  sizes = SIZES.replace("groups=2, ", "") if family == "gpt2" else SIZES
  model = make_model(f"decoder(family='{family}', {sizes})", classes=60)
  network = kdjax.from_linen(model)
  variables = drawn_variables(network, seed=3)
  kdjax.pretrained.save(folder, network, variables)
  return network, variables


@pytest.mark.parametrize("family", DEFAULTS)
def test_is_loaded_again_as_it_was_saved(family, tmp_path):
  network, variables = new(family, tmp_path / "new")
  again = kdjax.pretrained.load(tmp_path / "new")
  assert again.config["model_type"] == family
  ours, theirs = network.module.config, again.network.module.config
  assert (ours.layers, ours.groups, ours.mlp) == (
    theirs.layers,
    theirs.groups,
    theirs.mlp,
  )
  jax.tree.map(np.testing.assert_array_equal, again.variables, variables)
  assert family in CLASSES
  if family != "gpt2":
    student = kdjax.pretrained.cut(again, "layers(1)")
    assert len(student.network.module.config.layers) == 1


def test_what_ends_a_text_is_the_tokenizers(tmp_path):
  """A config that no tokenizer came with says nothing of it."""
  network, variables = new("llama", tmp_path / "new")
  tokenizer = characters()
  kdjax.pretrained.save(tmp_path / "a", network, variables, tokenizer=tokenizer)
  ids = json.loads((tmp_path / "a" / "generation_config.json").read_text())
  assert tuple(ids["eos_token_id"]) == tokenizer.eos
  assert kdjax.pretrained.load(tmp_path / "a").tokenizer.eos == tokenizer.eos


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("family='lama'", "did you mean 'llama'"),
    ("width=10", "heads must divide the width 10, got 4"),
    ("groups=3", "llama has no 3 groups of 4 heads"),
    ("family='gpt2', groups=2", "gpt2 has no 2 groups of 4 heads"),
    ("depth=0", "depth must be a whole number >= 1, got 0"),
    ("mlp='a'", "mlp must be a whole number >= 1, got 'a'"),
    ("tied=1", "tied must be True or False, got 1"),
    ("layers=3", "there is no argument 'layers'"),
  ],
)
def test_refused(text, words):
  with pytest.raises(UserError, match=words):
    make_model(f"decoder({text})", classes=10)


@pytest.mark.slow
@pytest.mark.parametrize("family", DEFAULTS)
def test_logits_are_those_of_transformers(family, tmp_path):
  transformers = pytest.importorskip("transformers")
  torch = pytest.importorskip("torch")
  network, variables = new(family, tmp_path / "new")
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / "new", dtype=torch.float32, attn_implementation="eager"
  )
  with torch.no_grad():
    wanted = theirs(torch.tensor(TOKENS)).logits.numpy()
  inputs = {"tokens": jnp.asarray(TOKENS)}
  logits = jax.jit(lambda v: network.apply(v, inputs)[0])(variables)
  assert np.abs(logits - wanted).max() < 2e-5 * np.abs(wanted).max()
