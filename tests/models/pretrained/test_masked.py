"""Published BERTs that tell hidden tokens, against the head's formula."""

import json

import jax
import numpy as np
import pytest
from scipy import special
from small_texts import WORDS, add_masked_head, encoder

from kdjax.core.errors import UserError
from kdjax.models import ModelSpec
from kdjax.models.bert import Bert
from kdjax.models.pretrained.masked import load_masked

TOKENS = np.array([[2, 5, 4, 3, 0, 0], [2, 4, 12, 13, 4, 3]], np.int32)
PLACES = np.array([[2, 0], [1, 4]], np.int32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = encoder(tmp_path_factory.mktemp("masked") / "bert")
  return folder, add_masked_head(folder)


def normalised(x, scale, shift):
  x = x - x.mean(-1, keepdims=True)
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * scale + shift


def test_logits_are_those_of_the_published_head(folder):
  path, tensors = folder
  spec, variables = load_masked(path)
  network = ModelSpec(str(spec), spec).make(classes=len(WORDS))
  logits = jax.jit(network.apply)(variables, TOKENS, None, None, PLACES)
  sizes = {"width": 16, "depth": 3, "heads": 2, "mlp": 32, "positions": 64}
  body = Bert(len(WORDS), **sizes, classes=0)
  params = {x: y for x, y in variables["params"].items() if "head" not in x}
  _, taps = body.apply(
    {"params": params}, TOKENS, capture_intermediates=True,
    mutable=["intermediates"],
  )  # fmt: skip
  x = np.asarray(taps["intermediates"]["stage_2"]["__call__"][0], np.float64)
  x = np.take_along_axis(x, PLACES[..., None], axis=1)
  head = {
    name.removeprefix("cls.predictions."): np.float64(tensor)
    for name, tensor in tensors.items()
  }
  x = x @ head["transform.dense.weight"].T + head["transform.dense.bias"]
  x = x * special.ndtr(x)
  x = normalised(
    x, head["transform.LayerNorm.weight"], head["transform.LayerNorm.bias"]
  )
  expected = x @ head["decoder.weight"].T + head["bias"]
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def untied(folder):
  add_masked_head(folder, tied=False)


def of_another_kind(folder):
  config = json.loads((folder / "config.json").read_text())
  config["model_type"] = "roberta"
  (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
  ("change", "says"),
  [
    (lambda folder: None, "it has no head that tells hidden tokens"),
    (untied, "decoder.weight is not bert.embeddings.word_embeddings.weight"),
    (of_another_kind, "it is 'roberta'; hidden tokens are told by bert"),
  ],
)
def test_what_is_no_such_network(tmp_path, change, says):
  folder = encoder(tmp_path / "bert")
  change(folder)
  with pytest.raises(UserError, match=says):
    load_masked(folder)
